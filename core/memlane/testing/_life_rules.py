"""Stories that single rules come by too seldom: a record that changes, is copied, and moves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, precondition, rule

from memlane.scope import Scope
from memlane.testing import _choices as choices
from memlane.testing._machine import Target, stored
from memlane.testing._portable_rules import PortableRules
from memlane.testing._tenant_rules import TenantRules
from memlane.testing._version_rules import VersionRules
from memlane.testing._writing_rules import WritingRules
from memlane.types import RetrievalMode, Source
from memlane.writing import UNSET

__all__ = ("LifeRules",)

_LATER = timedelta(seconds=1)


class LifeRules(WritingRules, VersionRules, PortableRules, TenantRules):
    """Rules made of others."""

    def _rewrite(self, target: Target, text: str, others: dict[str, Any]) -> None:
        self.time_passes(_LATER)
        self.update(target, text, None, None, UNSET, None, others, False)

    @rule(
        target_=stored,
        said=st.lists(choices.texts(), min_size=2, max_size=2),
        others=choices.changes(),
        source=st.sampled_from(("app", "assistant", "tool")),
        back=st.sampled_from((0, 1, 2, 2)),
        mode=st.sampled_from(("hybrid", "vector", "text")),
    )
    def change_and_look_back(  # noqa: PLR0917 - hypothesis passes them by name
        self,
        target_: Target,
        said: list[str],
        others: dict[str, Any],
        source: Source,
        back: int,
        mode: RetrievalMode,
    ) -> None:
        """A record changes; each moment is recalled as it was, and one of them comes back."""
        scope, everything = target_[0], choices.CONDITIONS[0]
        moments = [self.clock.now() - timedelta(days=1), self.clock.now()]
        for text in said:
            self._rewrite(target_, text, {"source": source, **others})
            moments.append(self.clock.now())
        for moment in moments:
            ago = moment - self.clock.now()
            self.retrieve(said[0], scope, mode, everything, None, 500, False, False, None, ago)
        self.restore(target_, back, None, False)
        self.history(target_, True, False, scope)

    @rule(
        target=stored,
        target_=stored,
        said=st.lists(choices.texts(), min_size=2, max_size=2),
        heir=choices.scopes(),
        vectors=st.booleans(),
    )
    def copy_and_go_on(
        self, target_: Target, said: list[str], heir: Scope, vectors: bool
    ) -> MultipleResults[Target] | Target:
        """What was imported goes on where a later export of the same records goes on."""
        scope, everything = target_[0], choices.CONDITIONS[0]
        for text in said:
            self.export(scope, everything, vectors)
            self.import_records(len(self._exports) - 1, heir, None, True)
            self._rewrite(target_, text, {})
        self.export(scope, everything, vectors)
        return self.import_records(len(self._exports) - 1, heir, None, True)

    @precondition(lambda self: self._can_move)
    @rule(target_=stored, some=st.integers(1, 9), text=choices.texts(), again=st.booleans())
    def change_on_the_way(self, target_: Target, some: int, text: str, again: bool) -> None:
        """What changes after it was shadowed comes along as it is at the end."""
        tenant = target_[0].tenant
        self.begin_to_reembed(tenant, some)
        self._rewrite(target_, text, {})
        self.reembed(tenant, again, text)
