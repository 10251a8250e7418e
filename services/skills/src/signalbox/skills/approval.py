"""Which tool calls of a model need a person's word first."""

from signalbox.contracts.config import AgentSkill, Policies, Tool


def needs_approval(skill: AgentSkill, tool: Tool, policies: Policies) -> bool:
    """Whether a call waits for a person: the skill, the tool, or the workflow's policy says so."""
    if tool.id in skill.approval.tools:
        return True
    if tool.effect != "write" or tool.confirm == "never":
        return False
    return tool.confirm == "always" or policies.confirm_writes
