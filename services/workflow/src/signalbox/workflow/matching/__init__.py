"""Deciding what a message means, in order of cost: rules, then examples, then a model."""

from signalbox.workflow.matching.incoming import Candidate, Decided, Guess, History, Incoming
from signalbox.workflow.matching.matcher import Matcher
from signalbox.workflow.matching.rule_matcher import RuleMatcher

__all__ = ["Candidate", "Decided", "Guess", "History", "Incoming", "Matcher", "RuleMatcher"]
