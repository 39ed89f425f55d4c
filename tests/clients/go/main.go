// Gets one token with the Azure SDK for Go, as an app does: KIND RESOURCE [CLIENT_ID].
// It prints the seconds that the first token took, and the token.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

func credential(kind string, clientID []string) (azcore.TokenCredential, error) {
	if kind == "default" {
		return azidentity.NewDefaultAzureCredential(nil)
	}
	options := &azidentity.ManagedIdentityCredentialOptions{}
	if len(clientID) > 0 {
		options.ID = azidentity.ClientID(clientID[0])
	}
	return azidentity.NewManagedIdentityCredential(options)
}

func main() {
	started := time.Now()
	made, err := credential(os.Args[1], os.Args[3:])
	if err == nil {
		var token azcore.AccessToken
		token, err = made.GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{os.Args[2] + "/.default"}})
		if err == nil {
			fmt.Printf("%.3f %s\n", time.Since(started).Seconds(), token.Token)
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
