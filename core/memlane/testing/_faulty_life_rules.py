"""Calls about versions, files and whole tenants that meet a fault, and what comes after them."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, multiple, precondition, rule

from memlane.errors import MemlaneError
from memlane.scope import Scope
from memlane.testing import _choices as choices
from memlane.testing._doubts import Doubts, place_of
from memlane.testing._faulty_machine import FaultyMachineBase
from memlane.testing._faulty_rules import BATCH, faults
from memlane.testing._machine import Target, nobody, stored
from memlane.testing._tenant_rules import tenants
from memlane.testing.faults import Fault

__all__ = ("FaultyLifeRules",)

_MUCH = 12  # records; below, a tenant's end would leave too little for the others to do


class FaultyLifeRules(FaultyMachineBase):
    """Rules whose calls fail."""

    @rule(
        target_=stored,
        fault=faults("upsert", "upsert", "fetch", "versions"),
        back=st.integers(0, 2),
        agents=st.booleans(),
        again=st.booleans(),
    )
    def restore_fails(
        self, target_: Target, fault: Fault, back: int, agents: bool, again: bool
    ) -> None:
        """All of the older words are there again, or none; what they replaced is kept or there."""
        _, met = self._fail(fault, lambda: self.restore(target_, back, None, agents))
        if met and again:
            self.restore(target_, back, 0, agents)

    @precondition(lambda self: bool(self._exports))
    @rule(
        target=stored,
        which=st.integers(0, 3),
        scope=choices.scopes(),
        fault=faults(
            "upsert", "upsert", "upsert", "embed", "fetch", moments=BATCH, skip=(0, 0, 1, 2)
        ),
    )
    def import_fails(self, which: int, scope: Scope, fault: Fault) -> MultipleResults[Target]:
        """An import that is cut short is finished by the next, and nothing is there twice."""
        export = self._exports[which % len(self._exports)]
        targets, count = self._targets(export, scope), len(export.lines)
        _, met = self._fail(fault, lambda: self._import(export, scope, count))
        if met:
            self._import(export, scope, count)
        return multiple(*targets)

    @rule(tenant=tenants(), fault=faults("sweep", moments=BATCH), again=st.booleans())
    def sweep_fails(self, tenant: str | None, fault: Fault, again: bool) -> None:
        """What has expired is there for nobody, swept or not; the next call sweeps the rest."""
        _, met = self._fail(fault, lambda: self.sweep(tenant))
        if met and again:
            self.sweep(tenant)

    @precondition(lambda self: len(self._model.records) >= _MUCH)
    @rule(tenant=tenants(), fault=faults("forget_tenant", moments=BATCH))
    def forget_tenant_fails(self, tenant: str | None, fault: Fault) -> None:
        """Repeated, it ends in the same state."""
        _, met = self._fail(fault, lambda: self._forget_tenant(tenant))
        if met:
            self._forget_tenant(tenant)

    @precondition(lambda self: self._can_move and bool(self._shadows))
    @rule(tenant=tenants(), fault=faults("abandon_reembed"))
    def abandon_fails(self, tenant: str | None, fault: Fault) -> None:
        """What was on its way is given up, or it is still."""
        _, met = self._fail(fault, lambda: self.abandon_reembed(tenant))
        if met:
            self._shadows[tenant] = None

    @precondition(lambda self: self._can_move)
    @rule(
        tenant=tenants(),
        fault=faults(
            "begin_reembed", "pending", "shadow", "shadow", "cut_over", "cut_over", "cut_over",
            "embed", "sweep", "stats", "ensure_index", moments=BATCH, skip=(0, 0, 0, 1),
        ),
        resume=st.booleans(),
    )  # fmt: skip
    def reembed_fails(self, tenant: str | None, fault: Fault, resume: bool) -> None:
        """A tenant is in the one space or in the other, and the next call takes it there."""
        expired = {
            place_of(each) for each in self.model.of_tenant(tenant, expired=self.clock.now())
        }
        mine = self.model.of_tenant(tenant)
        if not mine:
            return
        is_empty = len(expired) == len(mine)
        _, met = self._fail(fault, lambda: self._reembed(tenant, again=False))
        if not met:
            return
        space = self._elsewhere(tenant).space.id
        if resume or is_empty or fault.moment == "cancel":
            receipt = self._call("reembed", nobody(tenant), self._elsewhere(tenant))
            assert not isinstance(receipt, MemlaneError), receipt
            self._drop_expired(tenant)
            self._check_reembedded(tenant, receipt, begun=True)
        else:
            self._doubts = Doubts(going=expired, spaces={tenant: space})
            if any(each.space == space for each in self.model.of_tenant(tenant)):
                self._shadows.pop(tenant, None)
                self._moved ^= {tenant}
            else:
                self._shadows[tenant] = None
        self.everything_is_there()
