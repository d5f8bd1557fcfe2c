"""What the file of a made picture says of itself: that a machine made it, and with which parameters.

The EU's AI Act, Article 50, asks that a machine can tell. IPTC's way is the property ``DigitalSourceType`` in XMP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

from PIL import ExifTags, Image, PngImagePlugin

from .version import GENERATOR

METADATA = ("provenance", "parameters", "none")
"""What files say: that they were made, and by what; that and how; nothing."""
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_XMP = f"""\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType={quoteattr(SOURCE_TYPE)}
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool={quoteattr(GENERATOR)}/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""
_PNG_XMP, _PNG_PARAMETERS = "XML:com.adobe.xmp", "parameters"
_COMMENT_IN_UTF16 = b"UNICODE\0"


@dataclass(frozen=True)
class Mark:
    """What a file says. ``parameters``: the line that other tools read and write, or empty."""

    parameters: str = ""

    def options(self, output_format: str) -> dict[str, Any]:
        """Return Pillow's options of saving a jpeg, png or webp with this mark."""
        if output_format != "png":
            return {"xmp": _XMP.encode()} | ({"exif": self._exif()} if self.parameters else {})
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(_PNG_XMP, _XMP)
        if self.parameters:
            chunks.add_text(_PNG_PARAMETERS, self.parameters)
        return {"pnginfo": chunks}

    def _exif(self) -> Image.Exif:
        exif = Image.Exif()
        comment = _COMMENT_IN_UTF16 + self.parameters.encode("utf-16-be")
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
        return exif


def parameters_line(values: Mapping[str, Any]) -> str:
    """Return ``values`` by name as AUTOMATIC1111's web UI writes them and most tools read them."""
    return ", ".join(f"{name}: {value}" for name, value in {**values, "Version": GENERATOR}.items())
