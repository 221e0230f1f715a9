import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SystemDefinition } from '@fairlead/chassis'

/** The repository that a system lives in. */
export interface Repository {
  /** Its folder, absolute. */
  root: string
  /** Of its package.json; labels of objects and images carry it. */
  version: string
  /** SPDX identifier. */
  license?: string
}

/** A system, and the repository that it lives in. */
export interface Project extends Repository {
  system: SystemDefinition
}

/** The folder is not that of a project, or lacks a file of one. */
export class ProjectError extends Error {
  override name = 'ProjectError'
}

/** @throws ProjectError when the folder has no package.json with a version */
export function readRepository(folder: string | URL): Repository {
  const root = resolve(folder instanceof URL ? fileURLToPath(folder) : folder)
  const file = join(root, 'package.json')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new ProjectError(`${file} cannot be read: the root of an app is the folder with its package.json`)
  }
  const { version, license } = JSON.parse(text) as { version?: string; license?: string }
  if (!version) throw new ProjectError(`${file} has no version, which labels of objects and images carry`)
  return { root, version, ...(license && { license }) }
}
