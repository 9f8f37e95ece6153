package main

import "github.com/spf13/cobra"

func newLog() *cobra.Command {
	return &cobra.Command{Use: "log DATABASE [NAME|OID]"}
}
