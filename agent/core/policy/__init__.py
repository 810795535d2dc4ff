"""What a policy says of the operations of a session.

    schemas.policy.Policy -> rulebook.Rules (compiled, once a policy) -> rulebook.Rulebook (once a session) -> Verdict

globs        patterns over "VERB OBJECT", names and resources
verbs        the verbs that operations can have; where a verb ends and its object begins
conditions   CEL: type-checked when read, evaluated to yes, no or undecided
rulebook     which rule decides an operation, and what that makes of a statement
reasons      rule by rule, why an operation is decided as it is
shadows      what a policy's author should be warned of
"""
