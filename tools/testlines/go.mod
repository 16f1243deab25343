module github.com/regctl-setup/regctl-setup/tools/testlines

go 1.26.0
