"""The page at the gateway's root, built with Gradio: `pip install 'insta-depth-gateway[page]'`."""

from insta_depth_gateway.page.app import Page, page_app
from insta_depth_gateway.page.uploads import UploadLimits

__all__ = ["Page", "UploadLimits", "page_app"]
