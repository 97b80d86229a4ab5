"""The page at /docs needs no other host."""

import re

import pytest

PAGES = ["/docs", "/docs/start.js", "/docs/introduction.md", "/docs/assets/swagger-ui.css"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_page_is_html(client, slash):
    response = client.get(f"/docs{slash}")

    assert (response.status_code, response.mimetype) == (200, "text/html")


def test_everything_that_the_page_loads_is_here(client):
    page = client.get("/docs").text

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    statuses = {path: client.get(path, buffered=True).status_code for path in loaded}
    assert set(statuses.values()) == {200}, statuses


@pytest.mark.parametrize(
    ("path", "mimetype"),
    [
        ("/docs/start.js", "text/javascript"),
        ("/docs/assets/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/assets/swagger-ui.css", "text/css"),
        ("/docs/assets/favicon-32x32.png", "image/png"),
        ("/docs/introduction.md", "text/markdown"),
        ("/openapi.json", "application/json"),
        ("/.well-known/api-catalog", "application/linkset+json"),
    ],
)
def test_a_part_of_the_page_has_its_type(client, path, mimetype):
    response = client.get(path, buffered=True)

    assert response.mimetype == mimetype


@pytest.mark.parametrize("path", PAGES)
def test_the_page_loads_nothing_from_another_host(client, path):
    text = client.get(path, buffered=True).text

    loads = r"""(?:src|href|action)\s*=\s*["'](?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import"""
    assert re.findall(loads, text) == []


@pytest.mark.parametrize("option", ["validatorUrl: null", 'fetch("/openapi.json")'])
def test_the_page_asks_this_host_only_for_the_document_and_its_validity(client, option):
    assert option in client.get("/docs/start.js").text


def test_the_root_leads_to_the_page(client):
    response = client.get("/")

    assert (response.status_code, response.headers["Location"]) == (302, "/docs")


@pytest.mark.parametrize("path", ["/", "/docs", "/.well-known/api-catalog"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_program_finds_the_document(client, method, path):
    links = client.open(path, method=method).headers["Link"]

    assert '</openapi.json>; rel="service-desc"' in links
    assert '</.well-known/api-catalog>; rel="api-catalog"' in links


def test_the_catalog_of_apis_leads_to_what_is_here(client):
    (api,) = client.get("/.well-known/api-catalog").get_json(force=True)["linkset"]

    assert api.pop("anchor") == "http://localhost/"
    found = {name: client.get(target["href"]).status_code for name, (target,) in api.items()}
    assert found == {"service-desc": 200, "service-doc": 200, "status": 200}


def test_the_introduction_names_every_type_of_problem(client):
    introduction = client.get("/docs/introduction.md").text

    pages = re.findall(r"\]\((/problems/[^)]+)\)", introduction)
    assert len(pages) > 25
    assert {client.get(page).status_code for page in pages} == {200}


def test_the_browser_keeps_the_page_to_this_host(client):
    policy = client.get("/docs").headers["Content-Security-Policy"]

    directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    allowed = {source for sources in directives.values() for source in sources.split()}
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    assert allowed <= {"'none'", "'self'", "'unsafe-inline'", "data:"}


@pytest.mark.parametrize(
    "name", ["nothing.js", "../index.html", "..%2f..%2f__init__.py", "/etc/passwd", ""]
)
def test_what_is_no_part_of_the_page_is_404(client, name):
    response = client.get(f"/docs/assets/{name}")

    assert response.status_code == 404


def test_docs_have_no_inline_script(client):
    page = client.get("/docs").text

    assert re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|javascript:", page) == []
