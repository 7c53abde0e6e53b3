"""Names that would steer a terminal, or write into a page."""

from keras_cbam.text import as_markdown, printable


def test_control_characters_are_shown():
    assert printable("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert printable("a\u202egpj.exe\u2028") == "a\\u202egpj.exe\\u2028"
    assert printable("b\udcff.jpg") == "b\\udcff.jpg"
    for same in ("a\n\tb", "Grünkohl 甘蓝 کلم"):
        assert printable(same) == same


def test_a_name_is_one_line_of_markdown():
    assert as_markdown("a\n# heading") == "a\\\\n\\# heading"
    assert as_markdown("<b>[x](y)|`z`") == "\\<b\\>\\[x\\](y)\\|\\`z\\`"
    assert as_markdown("_a_ b_c.jpg __d__") == "\\_a\\_ b_c.jpg \\_\\_d\\_\\_"
    assert as_markdown("rose 3.jpg") == "rose 3.jpg"
