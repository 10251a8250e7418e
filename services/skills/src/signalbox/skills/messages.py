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
DONE: LocalizedText = {"en": "Done.", "zh": "已完成。"}
