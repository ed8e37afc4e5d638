// A tokenizer.json that is dropped on the page, as the steps of portable.py; `parts` are those of portable.parts().

class NotOpened extends Error {}
const refuse = why => { throw new NotOpened(why); };
const quoted = text => JSON.stringify(text);

function opened(file, parts) {
  const rule = (behavior, invert = false) =>
    parts.rules[`${behavior} ${Boolean(invert)}`] || refuse(`it has the behavior ${behavior}`);
  const pattern = ({String: text, Regex: regex}) => text !== undefined ? {text} : parts.patterns[regex] ||
    refuse(`its pattern ${quoted(regex).slice(0, 80)} is not one of those in this page; ` +
      "make one that has it: gputok playground -t FILE");

  function normalizer(step) {
    switch (step && step.type) {
      case null: case undefined: return [];
      case "Sequence": return step.normalizers.flatMap(normalizer);
      case "NFC": case "NFD": case "NFKC": case "NFKD": return [["form", step.type]];
      case "Lowercase": return [parts.maps.lowercase];
      case "StripAccents": return [parts.maps.strip_accents];
      case "Nmt": return [parts.maps.nmt];
      case "BertNormalizer": {
        const first = [step.clean_text && "clean", step.handle_chinese_chars && "chinese"].filter(Boolean);
        const lower = step.lowercase, maps = first.length ? [parts.maps[["bert", ...first].join("_")]] : [];
        if (!(step.strip_accents ?? lower)) return lower ? [...maps, parts.maps.lowercase] : maps;
        return [...maps, ["form", "NFD"], parts.maps[lower ? "bert_marks_lowercase" : "bert_marks"]];
      }
      case "Prepend": return [["prepend", step.prepend]];
      case "Replace": return [["replace", pattern(step.pattern), step.content]];
      case "Strip": return [["strip", step.strip_left, step.strip_right]];
      case "Precompiled": return [["precompiled", step.precompiled_charsmap, ...parts.graphemes]];
    }
    return refuse(`its normalizer has a ${step.type}`);
  }

  function splits(step) {
    switch (step && step.type) {
      case null: case undefined: return [];
      case "Sequence": return step.pretokenizers.flatMap(splits);
      case "ByteLevel": return [...(step.add_prefix_space ? [["space"]] : []),
        ...(step.use_regex ?? true ? [["cut", parts.patterns[parts.gpt2], rule("Isolated")]] : []), ["bytes"]];
      case "Metaspace": {
        const scheme = step.prepend_scheme ?? (step.add_prefix_space ?? true ? "always" : "never");
        return [["metaspace", step.replacement, scheme, step.split ?? true]];
      }
      case "Split": return [["cut", pattern(step.pattern), rule(step.behavior, step.invert)]];
      case "Punctuation": return [["cut", parts.words.Punctuation[1], rule(step.behavior ?? "Isolated")]];
      case "CharDelimiterSplit": return [["cut", {text: step.delimiter}, rule("Removed")]];
      case "Digits": return [parts.words[`Digits ${Boolean(step.individual_digits)}`]];
    }
    return [parts.words[step.type] || refuse(`its pre-tokenizer has a ${step.type}`)];
  }

  function model(one) {
    const type = one.type ?? (one.merges ? "BPE" : Array.isArray(one.vocab) ? "Unigram" :
      one.max_input_chars_per_word !== undefined ? "WordPiece" : "WordLevel");
    const known = () => one.vocab[one.unk_token] !== undefined ? one.unk_token :
      refuse(`its unknown token ${quoted(one.unk_token)} is not in the vocabulary`);
    if (type === "Unigram") return {
      type: "unigram", tokens: one.vocab.map(([token]) => token), scores: one.vocab.map(([, score]) => score),
      unk: one.unk_id ?? refuse("it has no unknown token"), byteFallback: Boolean(one.byte_fallback),
    };
    const tokens = Object.keys(one.vocab), ids = Object.values(one.vocab);
    if (new Set(ids).size < ids.length) refuse("two of its tokens have the same id");
    switch (type) {
      case "BPE": {
        if (one.dropout) refuse("its dropout is random");
        const idOf = new Map(tokens.map((token, i) => [token, ids[i]]));
        const idOrNot = token => idOf.get(token) ?? refuse(`its merges have ${quoted(token)}, which is no token`);
        const merges = one.merges.flatMap(pair => (typeof pair === "string" ? pair.split(" ") : pair).map(idOrNot));
        return {
          type: "bpe", tokens, ids, merges, unk: one.unk_token == null ? null : known(), fuseUnk: Boolean(one.fuse_unk),
          prefix: one.continuing_subword_prefix ?? "", suffix: one.end_of_word_suffix ?? "",
          byteFallback: Boolean(one.byte_fallback), ignoreMerges: Boolean(one.ignore_merges),
        };
      }
      case "WordPiece": return {
        type: "wordpiece", tokens, ids, prefix: one.continuing_subword_prefix ?? "##", unk: known(),
        maxChars: one.max_input_chars_per_word ?? 100,
      };
      case "WordLevel": return {type: "wordlevel", tokens, ids, unk: known()};
    }
    return refuse(`its model is a ${type}`);
  }

  const steps = normalizer(file.normalizer), added = [[], []];
  for (const token of file.added_tokens || []) {
    if (token.single_word) refuse(`its added token ${quoted(token.content)} is looked for as a whole word`);
    let text = token.content;
    if (token.normalized) text = stringOf(normalizing(steps)(codesOf(text).map((code, i) => [code, i, i + 1])));
    if (text) added[Number(Boolean(token.normalized))].push([text, token.id, token.lstrip, token.rstrip]);
  }
  return {added, normalizer: steps, splits: splits(file.pre_tokenizer), model: model(file.model)};
}
