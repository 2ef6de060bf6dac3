// A registry in memory with the referrers API, on the port that is given: for registry_judges.sh.
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], registry.New(registry.WithReferrersSupport(true))))
}
