"""The plot that the benchmark of growth draws."""

import xml.etree.ElementTree as ET

from benchmarks.growth import plot

SVG = "{http://www.w3.org/2000/svg}"


def test_every_cost_is_a_point_at_its_height() -> None:
    """Against the first of its row; the higher the dearer, and all inside the picture."""
    tree = ET.fromstring(plot([("flight", (1, 10), (4.0, 2.0)), ("journal", (1_000, 10_000), (2.0, 5.0))]))

    heights = [float(circle.attrib["cy"]) for circle in tree.iter(f"{SVG}circle")]
    words = [text.text for text in tree.iter(f"{SVG}text")]
    assert heights[0] == heights[2]
    assert 0 < heights[3] < heights[0] < heights[1] < 260
    assert {"1.00", "0.50", "2.50", "10,000", "flight", "journal"} <= set(words)
