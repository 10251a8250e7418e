"""A snapshot as Workflow uses it: parsed, its rules compiled, its targets indexed."""

import base64
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from signalbox.common.rules import RuleEngine
from signalbox.common.sensitive import sensitive_members
from signalbox.common.template_values import context_values, effective_variables
from signalbox.common.templates import Templates, is_foreign, localized
from signalbox.common.validation import load_snapshot
from signalbox.contracts.admin import Artefact, SnapshotDocument
from signalbox.contracts.base import LocalizedText
from signalbox.contracts.config import Action, AgentSkill, CallStep, Flow, Route, Skill, SubflowStep
from signalbox.contracts.context import CallContext
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.workflow.matching.example_matcher import (
    ENCODED_ARTEFACT,
    EXAMPLES_ARTEFACT,
    ExampleMatcher,
    LateEncoder,
)
from signalbox.workflow.matching.rule_matcher import RuleMatcher

RULES_ARTEFACT = "rules"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkflowSnapshot:
    """One published config, ready to serve turns. Immutable and shared by all of them."""

    tenant: str
    config_hash: str
    config: WorkflowConfig
    rules: RuleMatcher
    examples: ExampleMatcher | None
    """None for a document without examples, and for one that was built before they were learned."""
    templates: Templates
    variables: Mapping[str, Any]
    """The workflow's variables, with those that the operator replaced."""

    @cached_property
    def actions(self) -> dict[str, Action]:
        """Actions by id."""
        return {action.id: action for action in self.config.actions}

    @cached_property
    def flows(self) -> dict[str, Flow]:
        """Flows by id."""
        return {flow.id: flow for flow in self.config.flows}

    @cached_property
    def _agents(self) -> frozenset[str]:
        return frozenset(skill.id for skill in self.config.skills if isinstance(skill, AgentSkill))

    @cached_property
    def skills(self) -> dict[str, Skill]:
        """Skills by id."""
        return {skill.id: skill for skill in self.config.skills}

    @cached_property
    def sources(self) -> dict[str, int]:
        """The tools of knowledge sources, and how many of their passages count."""
        return {source.tool: source.top_k for source in self.config.knowledge}

    @cached_property
    def iterates(self) -> bool:
        """Whether a model decides, by the procedure, what a turn does after its first act."""
        config = self.config
        return (
            config.llm.decide is not None
            and bool(config.instructions.procedure.strip())
            and config.policies.max_iterations > 1
        )

    @cached_property
    def sensitive(self) -> dict[str, frozenset[str]]:
        """By tool, the arguments that are not kept with a turn: ``writeOnly``, or of format ``password``."""
        marked = {tool.id: sensitive_members(tool.parameters) for tool in self.config.tools}
        return {tool: names for tool, names in marked.items() if names}

    @cached_property
    def _writing(self) -> frozenset[str]:
        """Targets, as ``kind:id``, that may change something outside."""
        tools = {f"tool:{tool.id}" for tool in self.config.tools if tool.effect == "write"}
        flows = {flow.id: flow for flow in self.config.flows}
        writing = tools | {
            f"skill:{skill.id}"
            for skill in self.config.skills
            if not isinstance(skill, AgentSkill)
            or skill.subtasks
            or any(f"tool:{tool}" in tools for tool in skill.tools)
        }
        return frozenset(
            writing
            | {f"flow:{flow.id}" for flow in flows.values() if _flow_writes(flow, flows, tools, set())}
        )

    def values(self, context: CallContext, **more: Any) -> dict[str, Any]:
        """What the templates of a turn see, and what this one sees besides."""
        return {
            "context": context_values(context),
            "profile": context.profile,
            "vars": self.variables,
            **more,
        }

    def render(
        self,
        text: LocalizedText,
        language: str,
        seed: str,
        values: dict[str, Any],
        untranslated: set[str] | None = None,
    ) -> str:
        """A text of the config in a language, its variation chosen by ``seed``.

        Where it is not there in that language, the one that it is said in joins ``untranslated``.
        """
        template, tag = localized(text, language, self.config.default_language, seed)
        if untranslated is not None and tag != language and is_foreign(template, tag, language):
            untranslated.add(tag)
        return self.templates.render_text(template, values)

    def asks_models(self, skill: str) -> bool:
        """Whether a skill works by a model."""
        return skill in self._agents

    def may_write(self, route: Route) -> bool:
        """Whether following the route may change something outside of Signalbox."""
        targets = (("flow", route.flow), ("skill", route.skill), ("tool", route.tool))
        return any(f"{kind}:{name}" in self._writing for kind, name in targets if name is not None)


def _flow_writes(flow: Flow, flows: dict[str, Flow], tools: set[str], seen: set[str]) -> bool:
    if flow.id in seen:
        return False
    seen.add(flow.id)
    for step in flow.steps:
        if isinstance(step, CallStep) and f"tool:{step.tool}" in tools:
            return True
        if isinstance(step, SubflowStep):
            subflow = flows.get(step.flow)
            if subflow is not None and _flow_writes(subflow, flows, tools, seen):
                return True
    return False


def _data(artefact: Artefact) -> bytes:
    """The bytes of an artefact. Raises ValueError where they are not those that were built."""
    data = base64.b64decode(artefact.data_base64)
    if hashlib.sha256(data).hexdigest() != artefact.sha256:
        raise ValueError(f"the artefact '{artefact.name}' is damaged")
    return data


class SnapshotCompiler:
    """Makes snapshots of stored documents."""

    def __init__(
        self, engine: RuleEngine, variables: Mapping[str, str], encoder: LateEncoder | None = None
    ) -> None:
        self._encoder = encoder
        self._engine = engine
        self._variables = dict(variables)
        self._late: list[ExampleMatcher] = []
        self._started = False

    def __call__(self, document: SnapshotDocument) -> WorkflowSnapshot:
        """Compile one; uses the rules that were built when it was published, where they fit this engine."""
        config = load_snapshot(document.document.encode())
        built = next((entry for entry in document.artefacts if entry.name == RULES_ARTEFACT), None)
        return WorkflowSnapshot(
            tenant=document.tenant,
            config_hash=document.config_hash,
            config=config,
            rules=self._rules(config, built),
            examples=self._examples(document, config),
            templates=Templates(),
            variables=effective_variables(config.variables, self._variables),
        )

    def load_late(self) -> None:
        """Make the classifiers that no message has asked for yet, and from now on with their snapshots.

        For a thread of a process that has started and is idle.
        """
        self._started = True
        while self._late:
            self._late.pop().load()

    def _examples(self, document: SnapshotDocument, config: WorkflowConfig) -> ExampleMatcher | None:
        built = {entry.name: entry for entry in document.artefacts}
        by_words = built.get(EXAMPLES_ARTEFACT)
        if by_words is None:
            return None
        model = None if config.llm.embed is None else config.llm.embed.model
        matcher = ExampleMatcher(by_words, built.get(ENCODED_ARTEFACT), self._encoder, model)
        if self._started:
            matcher.load()
        else:
            self._late.append(matcher)
        return matcher

    def _rules(self, config: WorkflowConfig, built: Artefact | None) -> RuleMatcher:
        if built is not None:
            try:
                return RuleMatcher(config.intents, self._engine, _data(built))
            except ValueError as error:
                # Built by another version, or damaged: compiling anew gives the same rules, only slower.
                _LOG.warning("compiling the rules of %s: %s", config.workflow_id, error)
        return RuleMatcher(config.intents, self._engine)
