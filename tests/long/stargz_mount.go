// Mounts one eStargz layer of an image in a registry with the file system of containerd's stargz-snapshotter, until SIGINT:
//
//	stargz_mount HOST/NAME:TAG LAYER-DIGEST TOC-DIGEST MOUNTPOINT WORK-DIRECTORY
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"

	"github.com/containerd/containerd/reference"
	"github.com/containerd/containerd/remotes/docker"
	stargzfs "github.com/containerd/stargz-snapshotter/fs"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/fs/source"
)

func fail(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func main() {
	client := &http.Client{Transport: http.DefaultTransport}
	hosts := func(ref reference.Spec) ([]docker.RegistryHost, error) {
		plain := docker.WithPlainHTTP(docker.MatchAllHosts)
		return docker.ConfigureDefaultRegistries(plain, docker.WithClient(client))(ref.Hostname())
	}
	fs, err := stargzfs.NewFilesystem(os.Args[5], config.Config{NoPrometheus: true},
		stargzfs.WithGetSources(source.FromDefaultLabels(hosts)))
	fail(err)
	fail(fs.Mount(context.Background(), os.Args[4], map[string]string{
		"containerd.io/snapshot/remote/stargz.reference": os.Args[1],
		"containerd.io/snapshot/remote/stargz.digest":    os.Args[2],
		"containerd.io/snapshot/stargz/toc.digest":       os.Args[3],
	}))
	fmt.Println("mounted")
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	<-interrupted
	fail(fs.Unmount(context.Background(), os.Args[4]))
}
