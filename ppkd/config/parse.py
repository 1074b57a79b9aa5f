"""Yaml text to a :class:`Config`: safe, with lines, the dialect's ``!Name`` tags and YAML 1.2 floats."""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ppkd.config.value import Config, LocatedError, Mark

MAX_NODES = 100_000
MAX_DEPTH = 60
_STANDARD = "tag:yaml.org,2002:"
_SCALARS = frozenset(_STANDARD + kind for kind in ("null", "bool", "int", "float", "str"))
_NAME = re.compile(r"![A-Za-z_]\w*")
_EXPONENT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+\Z")


_log = logging.getLogger("ppkd.config")


class _Loader(yaml.SafeLoader):
    """Composes nodes only; anchored ones are remembered, dates stay text and ``5e-6`` is a float."""

    # PyYAML implements YAML 1.1, which reads 5e-6 as text and 2024-01-01 as a date; PaddleDetection's files use 5e-6.
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _STANDARD + "timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.anchored: set[int] = set()

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        alias = self.check_event(yaml.AliasEvent)
        anchor = None if alias else getattr(self.peek_event(), "anchor", None)
        node = super().compose_node(parent, index)
        if anchor is not None:
            self.anchored.add(id(node))
        return node


_Loader.add_implicit_resolver(_STANDARD + "float", _EXPONENT, list("-+.0123456789"))


class _Tree:
    """Turns the nodes of one file into frozen values, refusing what a configuration never holds."""

    def __init__(self, loader: _Loader, file: str, line: int | None) -> None:
        self.loader = loader
        self.file = file
        self.line = line
        self.nodes = 0

    def mark(self, node: Node) -> Mark:
        line = node.start_mark.line + 1 if self.line is None else self.line
        return Mark(self.file, line, id(node) in self.loader.anchored)

    def value(self, node: Node, depth: int = 0) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise LocatedError(
                self.mark(node),
                f"the file expands to more than {MAX_NODES} values or {MAX_DEPTH} levels; "
                "check its *aliases for one that repeats itself",
            )
        if isinstance(node, ScalarNode):
            return self.scalar(node)
        if isinstance(node, SequenceNode) and node.tag == _STANDARD + "seq":
            return tuple(self.value(item, depth + 1) for item in node.value)
        if isinstance(node, MappingNode) and node.tag == _STANDARD + "map":
            return self.mapping(node, depth)
        if isinstance(node, MappingNode) and _NAME.fullmatch(node.tag):
            return self.component(node, self.mapping(node, depth))
        raise self.refused(node)

    def scalar(self, node: ScalarNode) -> Any:
        if node.tag in _SCALARS:
            try:
                return self.loader.construct_object(node)
            except (ValueError, KeyError, yaml.YAMLError):
                kind = node.tag.removeprefix(_STANDARD)
                raise LocatedError(self.mark(node), f"'{node.value}' is not of the type !!{kind}") from None
        if _NAME.fullmatch(node.tag) and not node.value:
            return self.component(node, Config({}, {}, self.mark(node)))
        raise self.refused(node)

    def component(self, node: Node, settings: Config) -> Config:
        """``!Name {a: 1}`` as ``{name: Name, a: 1}``."""
        mark = self.mark(node)
        if "name" in settings:
            raise LocatedError(mark, f"{node.tag} already names the component; remove the key 'name' inside it")
        return Config(
            {"name": node.tag[1:], **settings}, {"name": mark, **settings.marks_}, settings.origin, tagged=True
        )

    def mapping(self, node: MappingNode, depth: int) -> Config:
        values: dict[str, Any] = {}
        marks: dict[str, Mark] = {}
        merged = Config({}, {}, self.mark(node))
        for key_node, value_node in node.value:
            mark = self.mark(key_node)
            if not isinstance(key_node, ScalarNode):
                raise LocatedError(mark, "a key must be a plain name, not a list or a mapping")
            key, value = key_node.value, self.value(value_node, depth + 1)
            if key_node.tag == _STANDARD + "merge":
                merged = self.merge_keys(merged, value, mark)
                continue
            if key in values:
                _note_repeated(key, marks[key], mark)
            values[key], marks[key] = value, Mark(mark.file, mark.line, id(value_node) in self.loader.anchored)
        return Config({**merged, **values}, {**merged.marks_, **marks}, merged.origin)

    def merge_keys(self, merged: Config, value: Any, mark: Mark) -> Config:
        """The mappings of a ``<<:`` key; yaml lets the first one win."""
        for source in value if isinstance(value, tuple) else (value,):
            if not isinstance(source, Config):
                raise LocatedError(mark, "'<<' must be followed by a mapping or a list of mappings")
            merged = Config({**source, **merged}, {**source.marks_, **merged.marks_}, merged.origin)
        return merged

    def refused(self, node: Node) -> LocatedError:
        tag = node.tag.replace(_STANDARD, "!!")
        return LocatedError(
            self.mark(node),
            f"the tag {tag} is refused: a configuration holds plain values and !Name {{...}} with a component's name",
        )


@cache
def _note_repeated(key: str, first: Mark, second: Mark) -> None:
    """Warn once in a process of a key that stands twice in a mapping."""
    # Files of PaddleDetection repeat keys, and its loader, PyYAML's, takes the last one without a word.
    _log.warning("%s: the key '%s' stands in %s too; the last one counts, keep one", second, key, first)


def parse(text: str, file: str, line: int | None = None) -> Any:
    """The frozen value of yaml ``text``; ``file`` (and ``line``, else the text's own lines) go into the marks.
    Of a key that stands twice in a mapping the last value counts, and a warning in the log names both lines.

    Raises :class:`ConfigError` for malformed yaml, a tag that is no component's name, or aliases
    that expand beyond :data:`MAX_NODES`.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        tree = _Tree(loader, file, line)
        return None if node is None else tree.value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = mark.line + 1 if mark and line is None else line or 0
        raise LocatedError(Mark(file, at), f"this is not valid yaml: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise LocatedError(file, f"this is not valid yaml: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise LocatedError(file, f"the yaml is nested too deeply (at most {MAX_DEPTH} levels)") from None
    finally:
        if loader is not None:
            loader.dispose()
