"""How the page looks: fonts of the visitor's system, one colour, and the style sheet beside this file."""

from pathlib import Path

import gradio as gr

THEME = gr.themes.Base(
    primary_hue="indigo",
    neutral_hue="slate",
    radius_size="md",
    text_size="md",
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
).set(body_text_color_subdued="*neutral_500", block_info_text_color="*neutral_500")

CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
