"""The registry: which definitions are known under which names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from attrs import field, frozen

from durable_jobs_core.checks import check, shown
from durable_jobs_core.definitions import AnyDefinition, Definition
from durable_jobs_core.errors import DefinitionError, JobNotFoundError, ValidationError
from durable_jobs_core.words import JOB_NAME, Job, Kind


@frozen
class Jobs:
    """The registered jobs, in the order they were given. Make one with `create_durable_jobs`.

    `by_name`: the definitions under their names; `by_key`: under (kind, name), as the engine wants them.
    """

    by_name: Mapping[str, AnyDefinition]
    by_key: Mapping[Job, AnyDefinition] = field(init=False)

    def __attrs_post_init__(self) -> None:
        by_key = {(job.kind, name): job for name, job in self.by_name.items()}
        object.__setattr__(self, "by_key", MappingProxyType(by_key))

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def find(self, kind: Kind, job: AnyDefinition | str) -> tuple[str, AnyDefinition]:
        """The name and definition of a job, given either; of several names, the first registered.

        Raises `JobNotFoundError` if none of that kind is registered, `ValidationError` for what is neither.
        """
        if not isinstance(job, str | Definition):
            expected = "a definition, or the name it is registered under"
            raise ValidationError.of(f"{kind} job", expected, shown(job))
        for name, definition in self.by_name.items():
            if definition.kind == kind and (job is definition or job == name):
                return name, definition
        names = tuple(name for name, other in self.by_name.items() if other.kind == kind)
        registered = (name for name, other in self.by_name.items() if other is job)
        asked = job if isinstance(job, str) else next(registered, f"<unregistered {job.kind} definition>")
        other = self.by_name.get(asked)
        hint = "" if isinstance(job, str) else "give this definition to create_durable_jobs"
        raise JobNotFoundError(kind, asked, names, None if other is None else other.kind, hint)


def create_durable_jobs(definitions: Mapping[str, AnyDefinition]) -> Jobs:
    """Register definitions under the names that become part of every instance's key.

    A name is letters, digits, `_`, `.` and `-`, beginning with a letter or `_`. Raises
    `DefinitionError` for another name, or for a value that is no definition.
    """
    check(
        isinstance(definitions, Mapping), "create_durable_jobs", "a dict of definitions by name", definitions
    )
    for name, definition in definitions.items():
        if not isinstance(name, str) or not JOB_NAME.fullmatch(name):
            raise DefinitionError(f"job name: expected {JOB_NAME.pattern}, got {name!r}")
        if not isinstance(definition, Definition):
            expected = "expected a Continuous, Debounce or Task"
            raise DefinitionError(f"job {name!r}: {expected}, got {type(definition).__name__}")
    return Jobs(MappingProxyType(dict(definitions)))
