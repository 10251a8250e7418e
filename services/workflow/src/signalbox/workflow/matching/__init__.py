"""Deciding what a message means, in order of cost: rules, then examples, then a model."""

from signalbox.workflow.matching.matcher import Decided, Guess, Matcher
from signalbox.workflow.matching.rule_matcher import RuleMatcher

__all__ = ["Decided", "Guess", "Matcher", "RuleMatcher"]
