"""Whether a version may move to a stage is decided here, and nowhere else. No I/O happens here.

The rules:
1. Staging and Production need evidence: measured on these bytes, young enough, every gate passed. Unknown blocks.
2. The comparison with the champion must be with the champion of this moment.
3. Approvals count when they are for the evidence's digest, given by a person who is neither an author nor a CI
   identity nor anonymous, not in the future and not expired; a claimed name counts only where the policy accepts it.
4. A move to Production is the mover's own approval when a login proved who moves and rule 3 lets them approve.
5. A version of unknown author cannot enter Production: nobody could say whose approval is the author's own.
6. Leaving Production is for people, not for CI identities or the anonymous.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from registry.gates import Champion, judge
from registry.identity import NOBODY
from registry.policy import StageRules
from registry.standing import Standing
from registry.words import Actor, Approval, Decision, Evidence, Outcome, Stage


@dataclass(frozen=True, slots=True)
class Case:
    """One move to decide: which version, from where to where, by whom, and what the ledger says."""

    model: str
    version: int
    current: Stage
    target: Stage
    mover: Actor
    standing: Standing
    champion: Champion | None

    @property
    def subject(self) -> str:
        """`images/3`."""
        return f"{self.model}/{self.version}"


def decide(case: Case, rules: StageRules, now: datetime) -> Decision:
    """Weigh everything for and against one move; never raises for a refusal."""
    if case.target.alias is None:
        return _leaving(case, rules)
    evidence, gate_reasons = _weigh_evidence(case, rules, now)
    approvals, approval_reasons = _weigh_approvals(case, rules, now)
    authorless = ("author not recorded",) if rules.approvals_needed and not case.standing.authors else ()
    return Decision(
        model=case.model,
        version=case.version,
        target=case.target,
        reasons=(*gate_reasons, *authorless, *approval_reasons),
        next_step=_next(case, evidence, bool(gate_reasons), bool(authorless)),
        verdicts=evidence.verdicts if evidence else (),
        approvals=approvals,
    )


def judged(evidence: Evidence, rules: StageRules, champion: Champion | None) -> Evidence:
    """The same evidence with the verdicts that these rules give it."""
    return replace(evidence, verdicts=judge(evidence.measures, evidence.paired, rules.gates, champion))


def cannot_approve(actor: Actor, authors: tuple[str, ...], rules: StageRules) -> str | None:
    """Why does this person's approval not count? None when it does."""
    if actor.name == NOBODY:
        return "nobody is named"
    if actor.name in authors:
        return f"author {actor.name} does not count"
    if actor.name in rules.ci:
        return f"{actor.name} is a CI identity"
    if not actor.verified and not rules.claimed_names_count:
        return f"{actor.name} is only claimed, not logged in"
    return None


def _leaving(case: Case, rules: StageRules) -> Decision:
    reasons: tuple[str, ...] = ()
    if case.current is Stage.PRODUCTION and case.mover.name in rules.ci | {NOBODY}:
        reasons = (f"only a person may take {case.subject} out of Production, not {case.mover.name}",)
    return Decision(case.model, case.version, case.target, reasons, "log in, or set SLIPWAY_USER")


def _weigh_evidence(case: Case, rules: StageRules, now: datetime) -> tuple[Evidence | None, tuple[str, ...]]:
    if case.standing.evidence is None:
        return None, ("never checked",)
    evidence = judged(case.standing.evidence, rules, case.champion)
    reasons = [verdict.reason for verdict in evidence.verdicts if verdict.outcome is not Outcome.PASSED]
    if not evidence.verdicts:
        reasons.append("no gate applies, and no gate is no pass")
    if not timedelta() <= now - evidence.at <= rules.evidence_max_age:
        reasons.append(f"checked {evidence.at:%Y-%m-%d}, older than {rules.evidence_max_age.days} days")
    return evidence, tuple(reasons)


def _weigh_approvals(case: Case, rules: StageRules, now: datetime) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
    if not rules.approvals_needed:
        return (), ()
    counted: dict[str, Approval] = {}
    discounted = [f"author {author} does not count" for author in case.standing.authors]
    for approval in (*case.standing.approvals, *_implied(case, now)):
        flaw = _flaw(approval, case, rules, now)
        if flaw is None:
            counted[approval.approver.name] = approval
        elif flaw not in discounted:
            discounted.append(flaw)
    approvals = tuple(counted.values())
    if len(approvals) >= rules.approvals_needed:
        return approvals, ()
    said = f"{len(approvals)} of {rules.approvals_needed} approvals" if approvals else "no approval"
    aside = "; ".join([*counted, *discounted])
    return approvals, (f"{said} ({aside})" if aside else said,)


def _implied(case: Case, now: datetime) -> tuple[Approval, ...]:
    """Moving a version to Production is the mover's approval, once a login proved who that is."""
    evidence, mover = case.standing.evidence, case.mover
    given = any(a.approver.name == mover.name and a.digest == evidence.digest for a in case.standing.approvals) if (
        evidence
    ) else True
    if evidence is None or given or not mover.verified or case.target is not Stage.PRODUCTION:
        return ()
    return (Approval(mover, evidence.digest, now, "by moving it to Production", evidence.entry, entry=0),)


def _flaw(approval: Approval, case: Case, rules: StageRules, now: datetime) -> str | None:
    who, evidence = approval.approver.name, case.standing.evidence
    if evidence is None or approval.digest != evidence.digest:
        return f"{who} approved other bytes"
    if approval.at > now:
        return f"{who}'s is dated in the future"
    if now - approval.at > rules.approvals_last:
        return f"{who}'s expired {approval.at + rules.approvals_last:%Y-%m-%d}"
    return cannot_approve(approval.approver, case.standing.authors, rules)


def _next(case: Case, evidence: Evidence | None, gates_block: bool, authorless: bool) -> str:
    if authorless:
        return f"register {case.model} anew through slipway"
    failed = evidence is not None and any(v.outcome is Outcome.FAILED for v in evidence.verdicts)
    if failed:
        return f"slipway check {case.subject} shows the numbers; train a better candidate"
    return f"slipway {'check' if gates_block else 'approve'} {case.subject}"
