/** transformers' counting of what `generate` makes, in frames of ours. */

/**
 * The frames that `MusicgenForConditionalGeneration.generate(max_new_tokens=newTokens)` gives back with the delay pattern of
 * `codebooks` delays (half the codebooks of a stereo model): its sequence is the start token, the prompt's frames and
 * the new tokens, and the delays take as many steps as there are. Generating so many frames here fills the same cells.
 */
export function hfFrames(newTokens: number, codebooks: number, promptFrames = 0): number {
  return promptFrames + 1 + newTokens - codebooks;
}
