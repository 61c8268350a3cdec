"""Plug-ins for engines that draw and train on many machines: Trinity-RFT and verl.

The engine keeps the policy, draws its tokens and makes the updates; here its episodes are played,
by the same agent loop as everywhere, and rewarded as a recipe says. Each module needs its engine
(extras `trinity` and `verl`, in environments of their own) and is imported by it:

    agemem_eval.policies.engines.trinity.AgeMemWorkflow
    agemem_eval.policies.engines.verl.AgeMemAgentLoop

`python -m agemem_eval.policies.engines RECIPE TASKS.jsonl` writes the tasks as both read them.
"""
