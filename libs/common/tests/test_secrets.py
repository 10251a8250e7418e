import json
import pickle
import re
from urllib.parse import quote

import pytest

from signalbox.common.secrets import (
    ChainedSecrets,
    DirectorySecrets,
    EnvironmentSecrets,
    Secret,
    SecretNotFound,
    redact,
    secret_name,
)

VALUE = 's3cr3t/value+"quoted"'


def test_a_secret_never_prints():
    secret = Secret(VALUE)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r:>10}", f"{secret:>6}", format(secret)]
    shown += [str([secret]), str({"a": secret}), json.dumps({"a": secret}, default=str)]
    assert all(VALUE not in text and "s3cr3t" not in text and "***" in text for text in shown)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == VALUE
    assert secret == Secret(VALUE)
    assert secret != Secret("other")


async def test_environment_names_belong_to_one_tenant():
    store = EnvironmentSecrets(
        {
            "SIGNALBOX_SECRET_CRM_TOKEN": "default's",
            "SIGNALBOX_SECRET_ACME_EU__CRM_TOKEN": "acme's",
        }
    )
    assert (await store.get("default", "crm-token")).reveal() == "default's"
    assert (await store.get("default", "crm.token")).reveal() == "default's"
    assert (await store.get("acme-eu", "crm-token")).reveal() == "acme's"
    refused = [
        ("other", "crm-token"),
        ("default", "acme-eu--crm-token"),
        ("default", "acme_eu__crm_token"),
        ("Acme_EU", "crm-token"),
        ("acme.eu", "crm-token"),
        ("acme", "eu--crm-token"),
        ("default", ""),
    ]
    for tenant, name in refused:
        with pytest.raises(SecretNotFound):
            await store.get(tenant, name)


async def test_a_tenants_own_name_comes_before_the_one_without_tenant():
    store = EnvironmentSecrets({"SIGNALBOX_SECRET_DEFAULT__A": "own", "SIGNALBOX_SECRET_A": "bare"})
    assert (await store.get("default", "a")).reveal() == "own"


async def test_directory(tmp_path):
    root = tmp_path / "secrets"
    (root / "acme" / "deep").mkdir(parents=True)
    (root / "default").mkdir()
    (root / "bare").write_text("of default\n")
    (root / "acme" / "token").write_text("of acme\r\n")
    (root / "acme" / "deep" / "key").write_text("two\nlines")
    (tmp_path / "outside").write_text("not a secret")
    (root / "acme" / "link").symlink_to(tmp_path / "outside")
    (root / "acme" / "mounted").symlink_to("token")
    (root / "acme" / "binary").write_bytes(b"\xff\xfe")
    store = DirectorySecrets(root)
    assert (await store.get("default", "bare")).reveal() == "of default"
    assert (await store.get("acme", "token")).reveal() == "of acme"
    assert (await store.get("acme", "mounted")).reveal() == "of acme"
    assert (await store.get("acme", "deep/key")).reveal() == "two\nlines"
    refused = [
        ("acme", "bare"),
        ("default", "acme/token"),
        ("default", "../outside"),
        ("acme", "a/../../../outside"),
        ("..", "outside"),
        ("acme", "link"),
        ("acme", "deep"),
        ("acme", "/etc/passwd"),
        ("acme", "binary"),
        ("acme/deep", "key"),
        ("", "bare"),
        (".", "bare"),
    ]
    for tenant, name in refused:
        with pytest.raises(SecretNotFound):
            await store.get(tenant, name)


async def test_a_chain_says_where_it_looked_and_caches_what_it_found(tmp_path):
    now = [0.0]
    environment: dict[str, str] = {}
    chain = ChainedSecrets(
        [EnvironmentSecrets(environment), DirectorySecrets(tmp_path)], ttl_seconds=3600, clock=lambda: now[0]
    )
    with pytest.raises(SecretNotFound) as caught:
        await chain.get("acme", "crm")
    assert "SIGNALBOX_SECRET_ACME__CRM" in caught.value.detail
    assert str(tmp_path / "acme" / "crm") in caught.value.detail
    environment["SIGNALBOX_SECRET_ACME__CRM"] = "first"
    assert (await chain.get("acme", "crm")).reveal() == "first", "what was not found is not remembered"
    environment["SIGNALBOX_SECRET_ACME__CRM"] = "rotated"
    now[0] = 59.9
    assert (await chain.get("acme", "crm")).reveal() == "first"
    now[0] = 60.0
    assert (await chain.get("acme", "crm")).reveal() == "rotated", "60 s is the most, whatever is asked for"
    with pytest.raises(SecretNotFound):
        await chain.get("other", "crm")


def test_redact_masks_every_form_of_a_value():
    secret = Secret(VALUE)
    text = f"plain {VALUE} url s3cr3t%2Fvalue%2B%22quoted%22 json {json.dumps(VALUE)} and words"
    masked = redact(text, [secret, Secret("and"), Secret("")])
    assert "s3cr3t" not in masked
    assert masked.count("***") == 3
    assert masked.endswith("and words"), "values shorter than 4 characters would tear up words"


def test_secret_name():
    assert secret_name("secret:crm/token") == "crm/token"


def test_redact_masks_mixtures_of_escapes():
    value = 'Qq/Ww+=&"\\é 😀Zz'
    url = quote(value, safe="/")  # as clients write a query: the slash stays, the rest does not
    slashes = json.dumps(value)[1:-1].replace("/", "\\/")
    nested = json.dumps({"detail": json.dumps({"path": f"/x?key={url}"})})
    small = re.sub("%..", lambda found: found[0].lower(), url)
    for written in (url, small, slashes, json.dumps(json.dumps(value)), nested):
        masked = redact(f"no route for {written}!", [Secret(value)])
        assert "***" in masked, written
        assert "ww" not in masked.lower(), written
