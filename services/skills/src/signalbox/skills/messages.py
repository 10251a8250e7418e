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
INTERRUPTED: LocalizedText = {
    "en": "Sorry, this was interrupted, and I cannot tell whether it was carried out.",
    "zh": "抱歉，操作被中断，我无法确定它是否已经完成。",
}
DONE: LocalizedText = {"en": "Done.", "zh": "已完成。"}
