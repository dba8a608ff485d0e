"""Whether a version may move to a stage is decided here, and nowhere else. No I/O happens here.

The rules:
1. Staging and Production need evidence: measured on these bytes, young enough, by somebody whose evidence the policy
   accepts, every gate passed. Unknown blocks.
2. The comparison with the champion must be with the champion of this moment.
3. Approvals count when they are for the evidence's digest, given by a person whom the policy names (or anybody, where
   it names none) who is neither an author nor a CI identity nor anonymous, not in the future, not expired and not
   withdrawn; a claimed name counts only where the policy accepts it.
4. A standing rejection by somebody whose approval would count blocks, until they withdraw it or approve.
5. A move to Production is the mover's own approval when a login proved who moves and rule 3 lets them approve.
6. A version of unknown author cannot enter Production: nobody could say whose approval is the author's own.
7. Leaving Production is for people, not for CI identities or the anonymous.
8. Breaking the glass overrides every reason but one: without evidence there are no bytes to release. It is for those
   whom the policy names, logged in, with a reason.
9. Where the policy says from which stages a stage may be entered, from no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from registry.gates import Champion, judge, rival
from registry.identity import NOBODY
from registry.policy import StageRules
from registry.spelling import one_line
from registry.standing import Standing
from registry.words import Actor, Approval, Decision, Evidence, Outcome, Stage

NEVER_CHECKED = "never checked"


@dataclass(frozen=True, slots=True)
class Case:
    """One move to decide: which version, from where to where, by whom, and what the ledger says.

    `glass` is the reason given for overriding, if one was.
    """

    model: str
    version: int
    current: Stage
    target: Stage
    mover: Actor
    standing: Standing
    champion: Champion | None
    glass: str | None = None

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
    authorless = ("author not recorded",) if rules.approvals.needed and not case.standing.authors else ()
    rejected = tuple(_rejections(case, rules))
    others, elsewhere = (*gate_reasons, *rejected, *authorless, *approval_reasons), tuple(_elsewhere(case, rules))
    weighed = Decision(
        model=case.model,
        version=case.version,
        target=case.target,
        reasons=(*others, *elsewhere),
        next_step=_next(case, evidence, gates=bool(gate_reasons), authorless=bool(authorless), rejected=bool(rejected))
        if others or not elsewhere else _way_in(case, rules),
        verdicts=evidence.verdicts if evidence else (),
        approvals=approvals,
    )
    return weighed if case.glass is None else _overridden(weighed, case, rules)


def _elsewhere(case: Case, rules: StageRules) -> Iterator[str]:
    if rules.enter_from is not None and case.current not in rules.enter_from:
        wanted = " or ".join(stage.value for stage in rules.enter_from) or "nowhere"
        yield f"it stands in {case.current.value}, and {case.target.value} is entered from {wanted}"


def _way_in(case: Case, rules: StageRules) -> str:
    if Stage.STAGING in (rules.enter_from or ()):
        return f"slipway promote {case.subject} --to {Stage.STAGING.value}"
    return "ask whoever keeps policy.yaml"


def judged(evidence: Evidence, rules: StageRules, champion: Champion | None) -> Evidence:
    """The same evidence with the verdicts that these rules give it."""
    files = [file.path for file in evidence.files]
    verdicts = judge(evidence.measures, evidence.paired, rules.gates, champion, files, evidence.measured)
    told = (v if v.reason.isprintable() else replace(v, reason=one_line(v.reason)) for v in verdicts)
    return replace(evidence, verdicts=tuple(told))


def cannot_approve(actor: Actor, authors: tuple[str, ...], rules: StageRules) -> str | None:
    """Why does this person's approval not count? None when it does."""
    if actor.name == NOBODY:
        return "nobody is named"
    if actor.name in authors:
        return f"author {actor.name} does not count"
    if actor.name in rules.ci:
        return f"{actor.name} is a CI identity"
    if rules.approvals.of is not None and actor.name not in rules.approvals.of:
        return f"{actor.name} is not among the policy's approvers"
    if not actor.verified and not rules.approvals.claimed_names_count:
        return f"{actor.name} is only claimed, not logged in"
    return None


def _leaving(case: Case, rules: StageRules) -> Decision:
    reasons: tuple[str, ...] = ()
    if case.current is Stage.PRODUCTION and case.mover.name in rules.ci | {NOBODY}:
        reasons = (f"only a person may take {case.subject} out of Production, not {case.mover.name}",)
    return Decision(case.model, case.version, case.target, reasons, "log in, or set SLIPWAY_USER")


def _overridden(weighed: Decision, case: Case, rules: StageRules) -> Decision:
    mover, reasons = case.mover, []
    if not mover.verified or mover.name not in rules.break_glass:
        allowed = ", ".join(sorted(rules.break_glass))
        reasons.append(f"{mover} may not break the glass ({f'{allowed}, logged in, may' if allowed else 'nobody may'})")
    if case.standing.evidence is None:
        reasons.append(NEVER_CHECKED)
    step = f"slipway check {case.subject}" if reasons == [NEVER_CHECKED] else weighed.next_step
    return replace(weighed, reasons=tuple(reasons), overridden=weighed.reasons, next_step=step)


def _weigh_evidence(case: Case, rules: StageRules, now: datetime) -> tuple[Evidence | None, tuple[str, ...]]:
    if case.standing.evidence is None:
        return None, (NEVER_CHECKED,)
    evidence = judged(case.standing.evidence, rules, rival(case.champion, case.version))
    reasons = [verdict.reason for verdict in evidence.verdicts if verdict.outcome is not Outcome.PASSED]
    if not evidence.verdicts:
        reasons.append("no gate applies, and no gate is no pass")
    if rules.evidence_by and evidence.by.name not in rules.evidence_by:
        reasons.append(f"checked by {evidence.by.name}, whose evidence does not count")
    if rules.evidence_by and not (evidence.by.verified or rules.approvals.claimed_names_count):
        reasons.append(f"checked by {evidence.by.name}, who is only claimed")
    if evidence.at > now:
        reasons.append(f"checked {evidence.at:%Y-%m-%d %H:%M}, in the future")
    if now - evidence.at > rules.evidence_max_age:
        reasons.append(f"checked {evidence.at:%Y-%m-%d}, longer ago than "
                       f"{rules.evidence_max_age / timedelta(days=1):g} days")
    return evidence, tuple(reasons)


def _weigh_approvals(case: Case, rules: StageRules, now: datetime) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
    if not rules.approvals.needed:
        return (), ()
    counted: dict[str, Approval] = {}
    discounted = [f"author {author} does not count" for author in case.standing.authors]
    for approval in (*case.standing.approvals, *_implied(case, now)):
        flaw = _flaw(approval, case, rules, now)
        if flaw is None:
            counted[approval.approver.name] = approval
        elif flaw not in discounted:
            discounted.append(flaw)
    missing = _missing(counted, rules)
    aside = "; ".join([*counted, *discounted])
    return tuple(counted.values()), tuple(f"{said} ({aside})" if aside else said for said in missing)


def _missing(counted: dict[str, Approval], rules: StageRules) -> Iterator[str]:
    needed = rules.approvals.needed
    if len(counted) < needed:
        yield f"{len(counted)} of {needed} approvals" if counted else "no approval"
    for role, count, people in rules.approvals.at_least:
        found = len(people & counted.keys())
        if found < count:
            yield f"{found} of {count} approvals from {role}"


def _implied(case: Case, now: datetime) -> tuple[Approval, ...]:
    """Moving a version to Production is the mover's approval, once a login proved who that is."""
    evidence, mover = case.standing.evidence, case.mover
    if evidence is None or not mover.verified or case.target is not Stage.PRODUCTION or case.glass is not None:
        return ()
    if any((a.approver.name, a.digest) == (mover.name, evidence.digest) for a in case.standing.approvals):
        return ()
    return (Approval(mover, evidence.digest, now, "by moving it to Production", evidence.entry, entry=0),)


def _flaw(approval: Approval, case: Case, rules: StageRules, now: datetime) -> str | None:
    who, evidence = approval.approver.name, case.standing.evidence
    if evidence is None or approval.digest != evidence.digest:
        return f"{who} approved other bytes"
    if approval.at > now:
        return f"{who}'s is dated in the future"
    if now - approval.at > rules.approvals.last:
        return f"{who}'s expired {approval.at + rules.approvals.last:%Y-%m-%d}"
    return cannot_approve(approval.approver, case.standing.authors, rules)


def _rejections(case: Case, rules: StageRules) -> Iterator[str]:
    if case.standing.evidence is None or not rules.approvals.needed:
        return
    for rejection in case.standing.rejections:
        counts = cannot_approve(rejection.by, case.standing.authors, rules) is None
        if counts and rejection.digest == case.standing.evidence.digest:
            yield one_line(f"rejected by {rejection.by.name}{f': {rejection.comment}' if rejection.comment else ''}")


def _next(case: Case, evidence: Evidence | None, *, gates: bool, authorless: bool, rejected: bool) -> str:
    """What leads on, where these stand against it?"""
    if authorless:
        return f"register {case.model} anew through slipway"
    if evidence is not None and any(v.outcome is Outcome.FAILED for v in evidence.verdicts):
        return f"slipway check {case.subject} shows what each gate found; then register a version that passes"
    if rejected and not gates:
        return f"check another version, or who rejected this one runs slipway approve {case.subject} --withdraw"
    return f"slipway {'check' if gates else 'approve'} {case.subject}"
