"""help() of the public names fits a screen or two and says what a user needs."""

from __future__ import annotations

import dataclasses
import pydoc
import re
from typing import Any

import pytest

import lfo
from lfo.algorithms import registry

CONFIGS = [lfo.InverseConfig, *(registry.spec(name).config for name in registry.names())]


def rendered(thing: Any) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


@pytest.mark.parametrize("name", ["D3G", "BCO", "QSI"])
def test_help_of_an_algorithm_shows_its_own_methods(name: str) -> None:
    text = rendered(getattr(lfo, name))
    assert len(text.splitlines()) <= 100  # nn.Module alone has a thousand
    for method in ("fit(", "save(", "load(", "act(", "update("):
        assert method in text
    assert "register_forward_hook" not in text
    assert "critic_loss(" not in text
    assert f"{name}.fit(load(" in text


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_help_of_a_config_explains_every_setting(config: Any) -> None:
    text = rendered(config)
    for field in dataclasses.fields(config):
        assert re.search(rf"^ \|\s+{field.name}: \w.* ", text, re.MULTILINE), field.name


def test_every_public_name_has_a_docstring_of_a_screen() -> None:
    for name in lfo.__all__:
        doc = getattr(lfo, name).__doc__
        assert doc, name
        assert len(doc.splitlines()) <= 45, name
