"""`gristmill demo`: from the Python files of this machine to a trained, measured and sampled GPT-2.

corpus ──► tokenizer ──► blocks ──► GPT-2 by torchrun ──► export ──► completions
                           │                                │
                           └──► bigram ──► bits per byte ◄──┘     the figure that can fail
"""
