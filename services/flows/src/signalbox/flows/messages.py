"""What a flow says where the workflow does not: in English and Chinese, English for every other language."""

from signalbox.contracts.base import LocalizedText

SORRY: LocalizedText = {
    "en": "Sorry, something went wrong and I could not finish this.",
    "zh": "抱歉，出了点问题，我没能完成这项操作。",
}
CANCELLED: LocalizedText = {"en": "All right, I have stopped here.", "zh": "好的，已为您取消。"}
DECLINED: LocalizedText = {"en": "All right, I leave it as it is.", "zh": "好的，保持不变。"}
DONE: LocalizedText = {"en": "Done.", "zh": "已完成。"}
NOT_UNDERSTOOD: LocalizedText = {"en": "Sorry, I did not understand that.", "zh": "抱歉，我没有理解。"}
NOT_ACCEPTED: LocalizedText = {"en": "Sorry, that does not work here.", "zh": "抱歉，这个值无法使用。"}
YES_OR_NO: LocalizedText = {"en": "Please answer yes or no.", "zh": "请回答“是”或“否”。"}
ALREADY_DONE: LocalizedText = {
    "en": "That part is already done as it was, and I cannot undo it here.",
    "zh": "那一步已经按之前的内容办理，这里无法撤销。",
}
UNDONE: LocalizedText = {"en": "I have undone what was done before.", "zh": "之前办理的内容已撤销。"}
NOT_CHANGED: LocalizedText = {"en": "Sorry, I cannot change that now.", "zh": "抱歉，现在无法更改。"}
MAY_I: LocalizedText = {
    "en": "Shall I go ahead? {{ what }}{{ ' (' ~ details ~ ')' if details else '' }}",
    "zh": "确认执行吗？{{ what }}{{ '（' ~ details ~ '）' if details else '' }}",
}
YES: LocalizedText = {"en": "Yes", "zh": "是"}
NO: LocalizedText = {"en": "No", "zh": "否"}
