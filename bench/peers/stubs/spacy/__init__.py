"""Stands in for spacy, which AudioCraft imports for a tokenizer that no benchmark uses, and which pins other packages' versions."""


def load(*names, **options):
    raise RuntimeError("this spacy is a stub for the benchmarks (bench/peers/stubs)")
