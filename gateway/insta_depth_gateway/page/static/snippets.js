// The form's request as a caller of the API would write it. It never contains a key.

const KEY_VARIABLE = "INSTA_DEPTH_KEY";

/** files: {name: [file names]}; values: the other attributes by name. */
export function curlCommand(url, files, values) {
  const parts = Object.entries(files).flatMap(([name, names]) =>
    names.map((file) => `--form ${quoted(`${name}=@${curlFile(file)}`)}`));
  const texts = Object.entries(values).map(([name, value]) => `--form-string ${quoted(`${name}=${value}`)}`);
  return [
    `curl --fail-with-body ${quoted(url)}`,
    `--header "x-api-key: $${KEY_VARIABLE}"`,
    ...parts,
    ...texts,
    "--form-string base64=false",
    "--output picture.jpg",
  ].join(" \\\n  ");
}

export function pythonProgram(url, files, values) {
  const pictures = Object.entries(files).map(([name, names]) => {
    const read = names.map((file) => `file_to_base64(${literal(file)})`);
    return `    ${literal(name)}: ${read.length > 1 ? `[${read.join(", ")}]` : read[0]},`;
  });
  const others = Object.entries(values).map(([name, value]) => `    ${literal(name)}: ${literal(value)},`);
  return `import base64
import os
from pathlib import Path

import requests


def file_to_base64(path):
    return base64.b64encode(Path(path).read_bytes()).decode()


data = {
${[...pictures, ...others].join("\n")}
    'base64': False,
}
headers = {'x-api-key': os.environ['${KEY_VARIABLE}']}
response = requests.post(${literal(url)}, json=data, headers=headers)
if not response.ok:
    raise SystemExit(response.text)
Path('picture.jpg').write_bytes(response.content)
print('seed', response.headers.get('x-seed'), 'credits left', response.headers.get('x-remaining-credits'))
`;
}

/** A word of the shell. */
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

/** A file name as curl reads it after @, where a comma or semicolon would end it. */
function curlFile(name) {
  return /[,;"\\ ]/.test(name) ? `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"` : name;
}

/** A literal of Python's. */
function literal(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  const escaped = value.replaceAll("\\", "\\\\").replaceAll("'", "\\'");
  return `'${escaped.replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t")}'`;
}
