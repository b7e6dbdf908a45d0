// The words of a GraphQL document, also of one that is being written (GraphQL specification, section 2.1).

const PATTERN =
  /(?<space>[\s,\uFEFF]+)|(?<comment>#[^\n]*)|(?<string>"""(?:\\"""|[^])*?(?:"""|$)|"(?:\\.|[^"\\\n])*"?)|(?<number>-?\d[\d.eE+-]*)|(?<variable>\$[_A-Za-z]?\w*)|(?<directive>@[_A-Za-z]?\w*)|(?<name>[_A-Za-z]\w*)|(?<mark>\.\.\.|[^])/g;

// { kind, text, at }: kind is the name of a group above; all of the text is in some token
export function tokens(text) {
  return [...text.matchAll(PATTERN)].map((match) => {
    const kind = Object.keys(match.groups).find((name) => match.groups[name] !== undefined);
    return { kind, text: match[0], at: match.index };
  });
}

const KINDS = new Set(["query", "mutation", "subscription"]);

// The operations of a document: { kind, name, field }, `field` being the first root field and `key` its response key
export function operations(text) {
  const words = tokens(text).filter(({ kind }) => kind !== "space" && kind !== "comment");
  const found = [];
  let depth = 0;
  let open = null;
  let fragment = false;
  words.forEach((word, index) => {
    if (word.kind === "mark" && "{([".includes(word.text)) {
      if (depth === 0 && word.text === "{" && !fragment) {
        open ??= { kind: "query", name: "" };
        found.push({ ...open, ...firstField(words, index + 1) });
      }
      depth += 1;
    } else if (word.kind === "mark" && "})]".includes(word.text)) {
      depth -= 1;
      if (depth === 0 && word.text === "}") open = fragment = null;
    } else if (depth === 0 && word.kind === "name" && open === null) {
      if (KINDS.has(word.text)) open = { kind: word.text, name: words[index + 1]?.kind === "name" ? words[index + 1].text : "" };
      else if (word.text === "fragment") fragment = true;
    }
  });
  return found;
}

function firstField(words, index) {
  const [key, colon, name] = words.slice(index, index + 3);
  if (key?.kind !== "name") return { field: null, key: null };
  return { field: colon?.text === ":" && name?.kind === "name" ? name.text : key.text, key: key.text };
}
