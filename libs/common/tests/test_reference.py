import re

from signalbox.common.reference import render_reference
from signalbox.contracts.workflow_config import config_json_schema


def test_every_field_of_every_object_has_a_row():
    page = render_reference()
    schema = config_json_schema()
    for name, definition in {"The document": schema, **schema["$defs"]}.items():
        start = page.index(f"## {name}\n")
        section = (
            page[start : page.find("\n## ", start + 1)] if page.find("\n## ", start + 1) > 0 else page[start:]
        )
        for field in definition.get("properties", {}):
            assert f"| `{field}` |" in section, f"{name}.{field}"


def test_tables_and_links_are_well_formed():
    page = render_reference()
    headings = {heading.lower() for heading in re.findall(r"^## (.+)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([a-z0-9]+)\)", page)) <= headings
    for line in page.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5, line


def test_types_and_defaults_are_readable():
    page = render_reference()
    assert "| `workflow_id` | name | **required** |" in page
    assert "| `greeting` | text | none |" in page
    assert "| `token` | secret reference | **required** |" in page
    assert "| `max_steps` | integer | `8` | Model calls in one run. (≤ 100, ≥ 1) |" in page
    assert page == render_reference()
