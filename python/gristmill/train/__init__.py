"""Training a GPT-2 on blocks of tokens, in one process or in many.

    config ──► data ──► model ──► loop ──► evaluate, checkpoint, log ──► export
    (YAML, flags)  (batches, read ahead)  (DDP, AdamW)

`torchrun --nproc-per-node N -m gristmill.train --config run.yaml --training.learning_rate 5e-4`.
torch is imported once the configuration is known to be good: a misspelt key is told in half a second.
"""
