"""Building registered components from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ppkd.config.answers import kinds_of, no_part, no_setting
from ppkd.config.convert import convert
from ppkd.config.registry import Component, find, lookup
from ppkd.config.signature import annotation_of
from ppkd.config.value import CODE, OVERRIDE, Config, LocatedError, Mark, freeze
from ppkd.utils.errors import ConfigError

Spec = str | Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """A component whose ``settings`` are checked: ``arguments`` are ready, ``parts`` are components to be built."""

    component: Component
    where: Mark
    settings: Config
    arguments: dict[str, Any]
    parts: dict[str, Plan]


def named(spec: Spec, where: Mark = CODE) -> tuple[str, Config]:
    """Name and settings of a component in any of the dialect's forms.

    ``Permute``, ``{Permute: {}}`` (an entry of a reader's list), ``{name: Permute}`` and ``!Permute {}`` are the same.
    Raises :class:`ConfigError` for anything else.
    """
    if isinstance(spec, str):
        return spec, Config({}, {}, where)
    frozen = freeze(spec, where)
    if isinstance(frozen, Config) and "name" in frozen:
        name, settings = frozen["name"], frozen.without("name")
    elif isinstance(frozen, Config) and len(frozen) == 1:
        ((name, settings),) = frozen.items()
        settings = Config({}, {}, frozen.mark(name)) if settings is None else settings
    else:
        name, settings = None, frozen
    if not isinstance(name, str) or not isinstance(settings, Config):
        place = settings.origin if isinstance(settings, Config) else where
        raise LocatedError(place, "expected a component: a name, 'Name: {settings}' or {name: Name, settings}")
    return name, settings


def plan(cfg: Config, spec: Spec, given: Mapping[str, Any] | None = None, where: Mark = CODE) -> Plan:
    """Check the settings of a component and of those it is made of, without building any.

    Settings are the top-level block of the component's name, with the nested ones on top. Raises
    :class:`ConfigError` with file, line, key and the nearest valid name.
    """
    name, nested = named(spec, where)
    component = lookup(name, _name_mark(spec, where))
    block = _block(cfg, component)
    settings = block.merge(nested)
    place = nested.origin if nested else block.origin if block else where
    given = given or {}
    arguments = dict(given)
    parts: dict[str, Plan] = {}
    _refuse_unknown(component, settings, given)
    for key, part in _named_parts(component, settings, given).items():
        parts[key] = plan(cfg, part, where=settings.mark(key))
        _refuse_other_kind(component, key, parts[key].component, settings.mark(key))
    for key in component.parameters:
        source = settings if key in settings else cfg if key in component.shared and key in cfg else None
        if source is not None and key not in given and key not in component.inject:
            label = f"{name}.{key}" if source is settings else key
            arguments[key] = convert(source[key], annotation_of(component.cls, key), label, source.mark(key))
    return Plan(component, place, settings, arguments, parts)


def build(cfg: Config, spec: Spec, **given: Any) -> Any:
    """The component that ``spec`` names, built with the settings of ``cfg``; ``given`` arguments pass as they are.

    Components under ``inject`` are built in order; each gets the ``out_specs`` of the one before it (or of a given
    argument, or else the ``in_specs`` of the whole) when its constructor has a parameter ``in_specs``. Raises
    :class:`ConfigError` as :func:`plan` does, and for a setting that is required and absent.
    """
    named_at = (cfg.mark(key) for key, value in cfg.items() if isinstance(spec, str) and value == spec)
    return _construct(plan(cfg, freeze(spec), given, where=next(named_at, cfg.origin)))


def _name_mark(spec: Spec, where: Mark) -> Mark:
    """Where the name of a component stands, in the forms of :func:`named`."""
    if not isinstance(spec, Config):
        return where
    return spec.mark("name" if "name" in spec else next(iter(spec)))


def _construct(plan: Plan) -> Any:
    component, arguments = plan.component, dict(plan.arguments)
    specs = arguments.get("in_specs")
    for value in arguments.values():
        specs = getattr(value, "out_specs", specs)
    for key, part in plan.parts.items():
        if specs is not None and "in_specs" in part.component.parameters and "in_specs" not in part.arguments:
            part.arguments["in_specs"] = specs
        arguments[key] = _construct(part)
        specs = getattr(arguments[key], "out_specs", specs)
    for key, parameter in component.parameters.items():
        if key not in arguments and parameter.default is parameter.empty:
            raise LocatedError(plan.where, f"{component.name} needs the setting '{key}'")
    try:
        return component.cls(**arguments)
    except LocatedError:
        raise
    except ConfigError as error:
        text = str(error)
        named_already = text.startswith(component.name)
        raise LocatedError(plan.where, text if named_already else f"{component.name}: {text}") from error


def _with_name(component: Component, key: str, part: Spec) -> Spec:
    """``part`` with the name of the only class that the parameter ``key`` takes, if it gives the settings alone."""
    if not isinstance(part, Config) or "name" in part or part.tagged:
        return part
    kinds = kinds_of(annotation_of(component.cls, key))
    kind = find(kinds[0].__name__) if len(kinds) == 1 and isinstance(kinds[0], type) else None
    if kind is None or (len(part) == 1 and find(next(iter(part))) is not None):
        return part
    return part.with_item("name", kind.name, part.origin)


def _block(cfg: Config, component: Component) -> Config:
    """The top-level settings of a component, under its name or an alias; overrides win whichever they use."""
    merged = overrides = Config({}, {}, cfg.origin)
    for name in (*component.aliases, component.name):
        block = cfg.get(name)
        if block is None:
            continue
        if not isinstance(block, Config):
            raise LocatedError(cfg.mark(name), f"{name} must be a mapping of its settings, not {block!r}")
        merged = merged.merge(replace(block, tagged=False))
        overrides = overrides.merge(block.without(*(key for key in block if block.mark(key) != OVERRIDE)))
    return merged.merge(overrides) if overrides else merged


def _named_parts(component: Component, settings: Config, given: Mapping[str, Any]) -> dict[str, Spec]:
    """The components that ``settings`` name for ``component``; refuses those that do not exist, before any other."""
    found: dict[str, Spec] = {}
    for key in component.inject:
        part = settings.get(key, component.parameters[key].default)
        if key not in given and part is not component.parameters[key].empty and part is not None:
            found[key] = _with_name(component, key, part)
            _refuse_absent(component, key, found[key], settings.mark(key))
    return found


def _refuse_absent(owner: Component, key: str, part: Spec, where: Mark) -> None:
    name, _ = named(part, where)
    if find(name) is None:
        raise LocatedError(_name_mark(part, where), no_part(owner, key, name))


def _refuse_other_kind(component: Component, key: str, part: Component, where: Mark) -> None:
    wanted = annotation_of(component.cls, key)
    if isinstance(wanted, type) and not issubclass(part.cls, wanted):
        raise LocatedError(where, f"{component.name}.{key} is {part.name}, expected {wanted.__name__}")


def _refuse_unknown(component: Component, settings: Config, given: Mapping[str, Any]) -> None:
    unknown_given = [key for key in given if key not in component.parameters]
    if unknown_given:
        raise TypeError(f"{component.name} has no parameters {unknown_given}")
    for key in settings:
        if key not in component.parameters and key not in component.without_effect:
            raise LocatedError(settings.mark(key), no_setting(component, key))
