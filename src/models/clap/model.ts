/**
 * CLAP (arXiv 2211.06687): audio and text in one space. What is heard and what is read about it have embeddings near each
 * other, of length 1.
 */
import { UserError } from "../../errors.ts";
import { gelu, type Linear, Module } from "../../nn/index.ts";
import { type Jitted, jit, type Tensor, tf } from "../../runtime/index.ts";
import { ClapAudioEncoder } from "./audio_encoder.ts";
import { audioFeatures, type ClapConfig } from "./config.ts";
import { unset } from "./linear.ts";
import type { LogMel } from "./log_mel.ts";
import { ClapTextEncoder, textPositions } from "./text_encoder.ts";
import type { RobertaTokenizer } from "./tokenizer.ts";

/** The two networks, with the names of Hugging Face files. */
export class ClapModel extends Module {
  readonly textModel: ClapTextEncoder;
  readonly textProjection: Projection;
  readonly audioModel: { audio_encoder: ClapAudioEncoder };
  readonly audioProjection: Projection;
  readonly config: ClapConfig;

  constructor(config: ClapConfig) {
    super();
    this.config = config;
    this.textModel = new ClapTextEncoder(config.text);
    this.textProjection = new Projection(config.text.hiddenSize, config);
    this.audioModel = { audio_encoder: new ClapAudioEncoder(config.audio) };
    this.audioProjection = new Projection(audioFeatures(config.audio), config);
  }

  /** log-mel spectrograms [B, T, melBins] -> embeddings [B, projectionDim] */
  audio(mel: Tensor): Tensor {
    return unit(this.audioProjection.forward(this.audioModel.audio_encoder.forward(mel)));
  }

  /** ids, positions, mask as ClapTextEncoder.forward takes them -> embeddings [B, projectionDim] */
  text(ids: Tensor, positions: Tensor, mask: Tensor): Tensor {
    return unit(this.textProjection.forward(this.textModel.forward(ids, positions, mask)));
  }
}

/** A model with what it needs to take samples and words. Runs jitted; not for use inside `jit`. */
export class Clap {
  readonly model: ClapModel;
  readonly logMel: LogMel;
  readonly tokenizer: RobertaTokenizer;
  private readonly jitAudio: Jitted<[Tensor], Tensor>;
  private readonly jitText: Jitted<[Tensor, Tensor, Tensor], Tensor>;

  /** @throws UserError when the parts are of different models */
  constructor(model: ClapModel, logMel: LogMel, tokenizer: RobertaTokenizer) {
    const { audio, text } = model.config;
    if (tokenizer.vocabSize > text.vocabSize) {
      throw new UserError(
        `CLAP: the tokenizer has ${tokenizer.vocabSize} tokens, the model ${text.vocabSize}; they are of different models`,
      );
    }
    if (logMel.options.melBins !== audio.numMelBins) {
      throw new UserError(
        `CLAP: spectrograms have ${logMel.options.melBins} bins, the model takes ${audio.numMelBins}`,
      );
    }
    this.model = model;
    this.logMel = logMel;
    this.tokenizer = tokenizer;
    this.jitAudio = jit((mel: Tensor) => model.audio(mel), { name: "clap_audio" });
    this.jitText = jit((ids: Tensor, positions: Tensor, mask: Tensor) => model.text(ids, positions, mask), {
      name: "clap_text",
    });
  }

  /** Size of an embedding. */
  get dim(): number {
    return this.model.config.projectionDim;
  }

  /** Mono clips at `logMel.options.sampleRate`, each no longer than its `maxSamples` -> embeddings [B, dim] */
  embedAudio(clips: readonly Float32Array[]): Tensor {
    const { frames, options } = this.logMel;
    const mel = new Float32Array(clips.length * frames * options.melBins);
    for (const [row, clip] of clips.entries()) {
      mel.set(this.logMel.spectrogram(clip), row * frames * options.melBins);
    }
    return tf.tidy(() => this.jitAudio(tf.tensor3d(mel, [clips.length, frames, options.melBins])));
  }

  /** Texts, of which the first 77 tokens count -> embeddings [B, dim] */
  embedText(texts: readonly string[]): Tensor {
    const { padId } = this.model.config.text;
    const tokens = this.tokenizer.encodeBatch(texts);
    // few lengths, so that jit traces few times; padding changes nothing
    const length = Math.min(Math.ceil(tokens.length / 16) * 16, Math.max(77, tokens.length));
    const ids = new Int32Array(texts.length * length).fill(padId);
    const mask = new Float32Array(texts.length * length);
    for (let row = 0; row < texts.length; row++) {
      const [from, to] = [row * tokens.length, (row + 1) * tokens.length];
      ids.set(tokens.ids.subarray(from, to), row * length);
      mask.set(tokens.mask.subarray(from, to), row * length);
    }
    const shape: [number, number] = [texts.length, length];
    return tf.tidy(() =>
      this.jitText(
        tf.tensor2d(ids, shape, "int32"),
        tf.tensor2d(textPositions(ids, length, padId), shape, "int32"),
        tf.tensor2d(mask, shape),
      ),
    );
  }

  dispose(): void {
    this.jitAudio.dispose();
    this.jitText.dispose();
    this.model.dispose();
  }
}

class Projection extends Module {
  readonly linear1: Linear;
  readonly linear2: Linear;
  private readonly activation: (x: Tensor) => Tensor;

  constructor(from: number, { projectionDim, projectionActivation }: ClapConfig) {
    super();
    this.linear1 = unset(from, projectionDim);
    this.linear2 = unset(projectionDim, projectionDim);
    this.activation = projectionActivation === "gelu" ? gelu : (x) => tf.relu(x);
  }

  forward(x: Tensor): Tensor {
    return this.linear2.forward(this.activation(this.linear1.forward(x)));
  }
}

/** Vectors [..., D] at length 1; a zero stays one. */
export function unit(x: Tensor): Tensor {
  return tf.div(x, tf.maximum(tf.sqrt(tf.sum(tf.square(x), -1, true)), 1e-12));
}
