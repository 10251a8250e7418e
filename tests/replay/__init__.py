"""Recorded conversations of an agent with tools, run again: the recording is the model, all else is real.

``python -m replay DATA`` (``make replay DATA=folder``) runs every conversation of a folder through Workflow, Skills and
Tools, with a retail backend behind the tools. The folder has ``retail_db.json`` (users, orders, products) and files of
conversations as tau2-bench writes them (sierra-research/tau2-bench, MIT licence).
"""
