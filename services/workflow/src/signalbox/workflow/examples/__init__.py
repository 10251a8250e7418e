"""Learning intents from examples: features of a text, training when a snapshot is built, scoring when it is served.

Nothing is imported here: a serving process has no numpy until it needs a classifier, and a training process
nothing but numpy.
"""
