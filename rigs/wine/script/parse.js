// Parses PowerShell files and prints where one is wrong; exits 1 then.
const fs = require('fs');
const path = require('path');
const folder = path.join(__dirname, 'node_modules/@vscode/tree-sitter-wasm/wasm');
const { Parser, Language } = require(path.join(folder, 'tree-sitter.js'));

function wrong(node, file) {
  if (node.isError || node.isMissing) {
    console.log(`${file}:${node.startPosition.row + 1}: ${node.text.slice(0, 100)}`);
    process.exitCode = 1;
    return;
  }
  for (const child of node.children) wrong(child, file);
}

(async () => {
  await Parser.init({ locateFile: () => path.join(folder, 'tree-sitter.wasm') });
  const parser = new Parser();
  parser.setLanguage(await Language.load(path.join(folder, 'tree-sitter-powershell.wasm')));
  for (const file of process.argv.slice(2)) wrong(parser.parse(fs.readFileSync(file, 'utf8')).rootNode, file);
})();
