"""Deciding what a message means, in order of cost: rules, then a model."""

from signalbox.workflow.matching.matcher import Decided, Matcher
from signalbox.workflow.matching.rule_matcher import RuleMatcher

__all__ = ["Decided", "Matcher", "RuleMatcher"]
