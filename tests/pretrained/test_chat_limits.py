"""Chat templates that would take all memory or time, and those that may not notice the limits."""

import pytest

from gputok.pretrained import chat_limits
from gputok.pretrained.chat import render

MESSAGES = [[{"role": "user", "content": "hi"}, {"role": "me", "content": "you"}]]
DOUBLED = "{{% set ns = namespace(s='a') %}}{{% for i in range(60) %}}{} {{% endfor %}}"
LONG = "'b' * 9999"
EXPRESSIONS = f"""\
('{{0}}' * 9999).format('a' * 99)
('{{0}}' * 9999)|format('a' * 99)
('{{0:{{1}}}}' * 999).format(1, 999)
('{{:999}}' * 999).format(*[1] * 999)
'%(a)s' * 9999 % {{'a': 'a' * 99}}
'%999d' * 999 % ((1,) * 999)
'%f' * 9999 % ((10.0 ** 300,) * 9999)
'%((a))99999999d' % {{'(a)': 1}}
('%s' * 9999)|format(*['a' * 99] * 9999)
'%s' % ([{LONG}] * 99,)
'{{}}'.format({{'a': [{LONG}] * 99}})
[{LONG}] * 99
'' ~ [{LONG}] * 99
([{LONG}] * 99)|upper
([{LONG}] * 99)|map('upper')|join
''.join(([{LONG}] * 99)|map('upper'))
([[1] * 99999] * 9)|sum(start=[])|count
('a' * 999).translate({{97: {LONG}}})|length
('\\t' * 999).expandtabs(9999)|length
('a ' * 999)|wordwrap(1, wrapstring={LONG})|length
('http://a.de ' * 999)|urlize(target={LONG})|length
('\\n' * 999)|indent({LONG})|length
('a'.encode() * 10 ** 10)|length
'a'.encode().ljust(10 ** 10)|length
('a'.encode() * 999).replace('a'.encode(), 'b'.encode() * 9999)|length
''.encode().join(['a'.encode() * 9999] * 999)|length
(1).to_bytes(10 ** 10, 'big')|length
""".splitlines()
TOO_LARGE = [
    *("{{ 'a'.ljust(3000000000) }}", "{{ 'a' * 10 ** 10 }}", "{{ [1] * 10 ** 10 }}", "{{ 'a'|center(3000000000) }}"),
    *("{{ '%3000000000d' % 1 }}", "{{ '%*d' % (3000000000, 1) }}", "{{ '%3000000000d'|format(1) }}"),
    *("{{ '{:>3000000000}'.format(1) }}", "{{ '{:>{}}'.format(1, 3000000000) }}", "{{ 9 ** (9 ** 9) }}"),
    DOUBLED.format("{% set ns.s = ns.s ~ ns.s %}"),
    DOUBLED.format("{% set ns.s = ns.s + ns.s %}"),
    DOUBLED.format("{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}"),
    DOUBLED.format("{% set ns.s = ns.s.replace('a', 'aa') %}"),
    DOUBLED.format("{% set ns.s = ns.s|replace('a', 'aa') %}"),
    DOUBLED.format("{% set ns.s = [ns.s, ns.s]|join %}"),
    DOUBLED.format("{% set ns.s = ''.join([ns.s, ns.s]) %}"),
    *(f"{{{{ {expression} }}}}" for expression in EXPRESSIONS),
    DOUBLED.format("{% set ns.s = {'a': ns.s, 'b': ns.s}.values() %}") + "{{ ns.s }}",
    DOUBLED.format("{% set ns.s = [ns.s, ns.s] %}") + "{{ ns.s }}",
    DOUBLED.format("{% set ns.s = ns.s|tojson %}"),
    DOUBLED.format("{% set ns.s = {'a': ns.s, 'b': ns.s} %}") + "{{ ns.s|tojson }}",
    "{{ [1, 2]|tojson(indent=1000000) }}",
    "{{ ('a\n' * 1000)|indent(1000000) }}",
]
TOO_LONG = [
    "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for a in range(9) recursive %}{% if loop.depth < 9 %}{{ loop(range(9)) }}{% endif %}{% endfor %}",
]


@pytest.mark.parametrize("template", TOO_LARGE)
def test_what_is_too_large(template, monkeypatch):
    monkeypatch.setattr(chat_limits, "MOST_CHARACTERS", 1 << 18)
    with pytest.raises(ValueError, match=r"makes a (text or list of length|number of) "):
        render(template, MESSAGES)


def test_a_namespace_is_not_written():
    """It may contain itself."""
    with pytest.raises(ValueError, match="writes a namespace itself, not one of its fields"):
        render("{% set ns = namespace(s=1) %}{{ [ns] }}", MESSAGES)


@pytest.mark.parametrize("template", TOO_LONG)
def test_what_takes_too_long(template, monkeypatch):
    monkeypatch.setattr(chat_limits, "MOST_STEPS", 100_000)
    with pytest.raises(ValueError, match="takes more than 100,000 steps"):
        render(template, MESSAGES)


def test_steps_are_counted_for_each_conversation(monkeypatch):
    monkeypatch.setattr(chat_limits, "MOST_STEPS", 100)
    assert len(render("{% for m in messages %}{{ m.role|upper }}{% endfor %}", MESSAGES * 200)) == 200


TEMPLATES = """\
{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{{ m.role ~ 1 ~ 'x' }}{% endfor %}
{% for k, v in {'x': 1}.items() %}{{ k }}{{ v }}{% else %}n{% endfor %}{{ '%05d' % 3 }}|{{ '%s' % 1700000000 }}
{% for a in [] %}{% else %}n{% endfor %}{{ [1, 2]|join(',') }}{{ 'a'.ljust(3) }}{{ '{} {:>4}'.format(1700000000, 1) }}
{% for a in 'abc' if a != 'b' %}{{ loop.previtem|default('-') }}{{ a }}{% endfor %}{{ 2 ** 10 * 3 + 1 }}{{ 'a' * 3 }}
{% for a in [1, [2, [3]]] recursive %}{% if a is iterable %}<{{ loop(a) }}>{% else %}{{ a }}{% endif %}{% endfor %}
{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ (m.content ~ '!')|indent(2)|trim }}{% endfor %}
{{ '%5.1f|%-4s' % (2.5, 'é'.encode().hex()) }}{{ 'a\\tb'.expandtabs(4)|wordwrap(1) }}{{ {'a': 1}.values() }}{{ 1.5 }}
{{ 'at 1700000000 {}'.format(1) }}{{ ['a', 'b']|map('upper')|join('-') }}{{ [1, {'a': none}] }}{{ 'a\\nb'|indent(2) }}
{{ 'a-b'.replace('-', '+') }}{{ 'a-b'|replace('-', '+') }}{% for a in [3, 1]|sort %}{{ a }}{% endfor %}{{ 'x' ~ none }}
""".splitlines()


@pytest.mark.parametrize("template", TEMPLATES)
def test_other_templates_render_as_in_jinja(template):
    import jinja2.sandbox

    plain = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    assert render(template, MESSAGES) == [plain.from_string(template).render(messages=MESSAGES[0])]
