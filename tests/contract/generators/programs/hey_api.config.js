// Node wants the extensions of modules to be written.
export default { input: "openapi.json", output: { path: "hey_api", importFileExtension: ".js" } };
