// Gets one token with the Azure SDK for JavaScript, as an app does: KIND RESOURCE [CLIENT_ID].
// It prints the seconds that the first token took, and the token.
const { DefaultAzureCredential, ManagedIdentityCredential } = require("@azure/identity");

async function main([kind, resource, clientId]) {
  const started = performance.now();
  const credential =
    kind === "default"
      ? new DefaultAzureCredential()
      : new ManagedIdentityCredential(clientId ? { clientId } : {});
  const { token } = await credential.getToken(`${resource}/.default`);
  console.log(((performance.now() - started) / 1000).toFixed(3), token);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(String(error));
  process.exit(1);
});
