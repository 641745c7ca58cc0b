"""The part of the golden folder hf_musicgen_tiny (transformers 4.57.6) that the tests here read. Usage: make.py GOLDEN"""
import shutil, sys
from pathlib import Path
from safetensors.numpy import load_file, save_file

source, target = Path(sys.argv[1]), Path(__file__).parent
names = ["input_ids", "attention_mask", "text_hidden", "decoder_input_ids", "logits", "gen.greedy_g3.codes", "gen.greedy_g1.codes",
         "gen.prompt.input_values", "gen.prompt.encoded", "gen.prompt.codes", "dec.codes", "dec.audio"]
outputs = load_file(source / "outputs.safetensors")
save_file({name: outputs[name] for name in names}, target / "outputs.safetensors")
(target / "model").mkdir(exist_ok=True)
for name in ["config.json", "generation_config.json", "model.safetensors"]:
    shutil.copyfile(source / "model" / name, target / "model" / name)
