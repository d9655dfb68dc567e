"""What a narrative may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.validation.narrative import NOT_DIV, NOT_XML, TXT_1, TXT_2, narrative_problems


def _div(inner: str, attributes: str = "") -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml"{attributes}>{inner}</div>'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_div("x"), id="text"),
        pytest.param(_div('<img src="#a" alt="b"/>'), id="an image alone"),
        pytest.param(_div('<a name="x"/><a href="https://example.org">x</a>'), id="links"),
        pytest.param(_div("<p>a &amp; b &lt; c &#233; &#xe9;</p>"), id="the entities that XML has itself"),
        pytest.param(_div("<!-- a comment --><p>x</p>"), id="a comment"),
        pytest.param(_div('<table class="a"><tr><td colspan="2" style="color: red">x</td></tr></table>'), id="a table"),
        pytest.param(_div("x", ' xml:lang="fr" lang="fr"'), id="a language"),
        pytest.param('<h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:b>x</h:b></h:div>', id="a prefix"),
        pytest.param(_div('<img src="data:image/png;base64,AAAA" alt="x"/>'), id="an image in the page"),
    ],
)
def test_basic_formatting_holds(text: str) -> None:
    assert narrative_problems(text) == []


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param("x", [NOT_XML], id="no XML"),
        pytest.param(_div("<p>x</div>"), [NOT_XML], id="an element without end"),
        pytest.param(_div("x") + _div("y"), [NOT_XML], id="two roots"),
        pytest.param("<!DOCTYPE div>" + _div("x"), [NOT_XML], id="a DOCTYPE"),
        pytest.param(
            '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + _div("&b;"), [NOT_XML], id="entities that grow"
        ),
        pytest.param('<!DOCTYPE d [<!ENTITY a SYSTEM "file:///x">]>' + _div("&a;"), [NOT_XML], id="an external entity"),
        pytest.param(_div("a&nbsp;b"), [NOT_XML], id="an entity of HTML"),
        pytest.param(_div("<?php x ?>y"), [NOT_XML], id="a processing instruction"),
        pytest.param('<?xml version="1.0"?>' + _div("x"), [NOT_XML], id="an XML declaration"),
        pytest.param(_div("a \ud800 b"), [NOT_XML], id="half of a surrogate pair"),
        pytest.param("<div>x</div>", [NOT_DIV, TXT_1], id="no namespace"),
        pytest.param('<p xmlns="http://www.w3.org/1999/xhtml">x</p>', [NOT_DIV], id="another root"),
        pytest.param(_div("x<script>y</script>"), [TXT_1], id="a script"),
        pytest.param(_div("x<ScRiPt>y</ScRiPt>"), [TXT_1], id="a script in mixed case"),
        pytest.param(_div('x<svg xmlns="http://www.w3.org/2000/svg"/>'), [TXT_1], id="another namespace"),
        pytest.param(_div('<p onclick="x">y</p>'), [TXT_1], id="an event"),
        pytest.param(_div('<a href="javascript:x">y</a>'), [TXT_1], id="a link that runs"),
        pytest.param(_div('<a href=" java&#10;script:x">y</a>'), [TXT_1], id="the same, hidden by blanks"),
        pytest.param(_div('<a href="data:text/html,x">y</a>'), [TXT_1], id="a page inside a link"),
        pytest.param(_div('<p style="width: expression(x)">y</p>'), [TXT_1], id="a style that runs"),
        pytest.param(_div("<iframe/>x"), [TXT_1], id="a frame"),
        pytest.param(_div('<form><input type="text"/></form>x'), [TXT_1], id="a form"),
        pytest.param(_div('<link rel="stylesheet" href="x"/>y'), [TXT_1], id="a style sheet from elsewhere"),
        pytest.param(_div(" \n <p/>"), [TXT_2], id="nothing but blanks"),
        pytest.param(_div('<img alt="x"/>'), [TXT_2], id="an image without source"),
        pytest.param(_div("<!-- x -->"), [TXT_2], id="a comment alone"),
    ],
)
def test_what_is_no_basic_formatting_is_found(text: str, problems: list[tuple[str, str, str]]) -> None:
    assert narrative_problems(text) == problems


@given(st.text())
def test_no_text_raises_anything(text: str) -> None:
    assert narrative_problems(text)


@given(st.text(st.sampled_from("<>/&;!?\"'=divpaxmlns: [](){}-#x1")))
def test_nothing_inside_a_div_raises_anything(text: str) -> None:
    assert isinstance(narrative_problems(_div(text)), list)
