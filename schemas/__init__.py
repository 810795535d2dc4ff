"""The values that hoopctl's parts exchange: frozen, typed, without behaviour.

configuration   hoop.yaml as read and checked
identity        who acts
records         what the journal holds, one leaf each
control         requests and answers of the control API

Standard library and msgspec only; no clock, no file, no network.
"""
