"""Where `ssh NODE` works, `fab` works: a table of cases, each run through both against real sshds."""
