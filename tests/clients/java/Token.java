// Gets one token with the Azure SDK for Java, as an app does: KIND RESOURCE [CLIENT_ID].
// It prints the seconds that the first token took, and the token.
import com.azure.core.credential.TokenCredential;
import com.azure.core.credential.TokenRequestContext;
import com.azure.identity.DefaultAzureCredentialBuilder;
import com.azure.identity.ManagedIdentityCredentialBuilder;
import java.util.Locale;

public final class Token {
  public static void main(String[] arguments) {
    long started = System.nanoTime();
    try {
      TokenRequestContext request = new TokenRequestContext().addScopes(arguments[1] + "/.default");
      String token = credential(arguments).getTokenSync(request).getToken();
      System.out.printf(Locale.ROOT, "%.3f %s%n", (System.nanoTime() - started) / 1e9, token);
      System.exit(0);
    } catch (RuntimeException error) {
      System.err.println(error.getMessage());
      System.exit(1);
    }
  }

  private static TokenCredential credential(String[] arguments) {
    if (arguments[0].equals("default")) {
      return new DefaultAzureCredentialBuilder().build();
    }
    ManagedIdentityCredentialBuilder builder = new ManagedIdentityCredentialBuilder();
    return arguments.length > 2 ? builder.clientId(arguments[2]).build() : builder.build();
  }
}
