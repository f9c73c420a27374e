"""QR codes."""

from io import BytesIO

import segno


def qr_svg(text: str) -> str:
    """A text as a QR code: an SVG document."""
    drawn = BytesIO()
    segno.make_qr(text, error="m").save(drawn, kind="svg", scale=4, xmldecl=False)
    return drawn.getvalue().decode("utf-8").strip()
