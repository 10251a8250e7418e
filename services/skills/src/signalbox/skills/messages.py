"""What a skill says where neither the model nor the workflow does: English, and Chinese."""

from signalbox.contracts.base import LocalizedText

SORRY: LocalizedText = {
    "en": "Sorry, something went wrong and I could not answer this.",
    "zh": "抱歉，出了点问题，我暂时无法回答。",
}
NO_MODEL: LocalizedText = {
    "en": "Sorry, I cannot answer this at the moment. Please try again later.",
    "zh": "抱歉，我暂时无法回答这个问题，请稍后再试。",
}
UNFINISHED: LocalizedText = {
    "en": "Sorry, I could not finish this. Please ask again, perhaps for less at once.",
    "zh": "抱歉，我没能完成这个请求，请再试一次，或者一次少问一些。",
}
UNKNOWN_OUTCOME: LocalizedText = {
    "en": "I cannot tell whether this was carried out, so I have stopped. Somebody will look into it; please do not "
    "repeat it until then.",
    "zh": "我无法确定该操作是否已经完成，因此先停下了。会有人核实；在此之前请不要重复操作。",
}
MAY_I: LocalizedText = {"en": "Shall I go ahead?", "zh": "确认执行吗？"}
OPERATOR: LocalizedText = {
    "en": "This needs a colleague's approval first. I have passed it on, and go on as soon as it is decided.",
    "zh": "这项操作需要工作人员批准。我已提交，有结果后会继续处理。",
}
ABANDONED: LocalizedText = {
    "en": "This was not carried on with.",
    "zh": "这项操作没有继续进行。",
}
YES: LocalizedText = {"en": "Yes", "zh": "是"}
NO: LocalizedText = {"en": "No", "zh": "否"}
DONE: LocalizedText = {"en": "Done.", "zh": "已完成。"}
