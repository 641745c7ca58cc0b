/** `npm run --silent completion -- bash|zsh`: prints the script that gives a shell completion for `train` and `config`. */
import path from "node:path";
import { PROJECT_ROOT } from "./config/train-config.ts";
import { UserError } from "./errors.ts";
import { printText } from "./log/print.ts";

const USAGE = `usage: npm run --silent completion -- bash|zsh
  bash: eval "$(npm run --silent completion -- bash)"     in ~/.bashrc, after npm's own completion if you use it
  zsh:  eval "$(npm run --silent completion -- zsh)"      in ~/.zshrc, after compinit`;

/** Runs the command; returns the process's exit code. */
export async function main(argv: string[]): Promise<number> {
  const [shell] = argv;
  if (argv.length !== 1 || (shell !== "bash" && shell !== "zsh")) throw new UserError(USAGE);
  await printText(shell === "bash" ? bashScript(PROJECT_ROOT) : zshScript(PROJECT_ROOT));
  return 0;
}

/**
 * Completes `npm run train -- …` in this checkout, and leaves every other npm command to what completed it before. Bash
 * splits words at "=" and ":", so the part up to the last of these is cut from the answers.
 */
function bashScript(root: string): string {
  return `# Completion of musicgen-tfjs for bash.
_musicgen_root=${quoted(root)}
_musicgen_before=$(complete -p npm 2>/dev/null | sed -n 's/.* -F \\([^ ]*\\) .*/\\1/p')
[[ $_musicgen_before == _musicgen_complete ]] && _musicgen_before=
_musicgen_complete() {
  local line=\${COMP_LINE:0:COMP_POINT}
  local pattern='^npm +(run|run-script) +((--silent|-s) +)?(train|config) +-- +'
  if [[ $line =~ $pattern && ( $PWD == "$_musicgen_root" || $PWD == "$_musicgen_root"/* ) ]]; then
    local command=\${BASH_REMATCH[4]} rest=\${line:\${#BASH_REMATCH[0]}} answer
    local word=\${rest##* } cut=
    [[ $COMP_WORDBREAKS == *=* && $word == *=* ]] && cut=\${word%"\${word##*=}"}
    COMPREPLY=()
    while IFS= read -r answer; do
      COMPREPLY+=("\${answer#"$cut"}")
    done < <(node "$_musicgen_root/scripts/launch.mjs" complete "$command" "$rest" 2>/dev/null)
    [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
    return 0
  fi
  [[ -n $_musicgen_before ]] && "$_musicgen_before" "$@"
}
complete -o default -F _musicgen_complete npm
`;
}

/** The same for zsh, which completes whole words. */
function zshScript(root: string): string {
  return `# Completion of musicgen-tfjs for zsh.
_musicgen_root=${quoted(root)}
_musicgen_before=\${_comps[npm]:-_default}
[[ $_musicgen_before == _musicgen_complete ]] && _musicgen_before=_default
_musicgen_complete() {
  local line=$LBUFFER
  if [[ $line =~ '^npm +(run|run-script) +((--silent|-s) +)?(train|config) +-- +' && ( $PWD == $_musicgen_root || $PWD == $_musicgen_root/* ) ]]; then
    local command=$match[4] rest=\${line[$((MEND + 1)),-1]}
    local -a answers
    answers=("\${(@f)$(node "$_musicgen_root/scripts/launch.mjs" complete "$command" "$rest" 2>/dev/null)}")
    compadd -S '' -- \${(M)answers:#*[=./]}
    compadd -- \${answers:#*[=./]}
    return
  fi
  $_musicgen_before "$@"
}
compdef _musicgen_complete npm
`;
}

function quoted(text: string): string {
  return `'${path.resolve(text).replaceAll("'", "'\\''")}'`;
}
