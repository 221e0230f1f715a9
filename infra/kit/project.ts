import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** The repository whose system this is, by its package.json. */
export interface Project {
  /** Its folder, absolute. */
  root: string
  version: string
  /** SPDX identifier. */
  license?: string
}

/** The folder is not that of a project. */
class ProjectError extends Error {
  override name = 'ProjectError'
}

const known = new Map<string, Project>()

/**
 * The project in a folder.
 * @param root @default the folder of this process, where npm runs a project's scripts
 * @throws ProjectError when it has no package.json with a version
 */
export function projectIn(root = process.cwd()): Project {
  const folder = resolve(root)
  let project = known.get(folder)
  if (!project) {
    project = readProject(folder)
    known.set(folder, project)
  }
  return project
}

function readProject(root: string): Project {
  const file = join(root, 'package.json')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new ProjectError(`${file} cannot be read: run this in the folder of your project`)
  }
  const { version, license } = JSON.parse(text) as { version?: string; license?: string }
  if (!version) throw new ProjectError(`${file} has no version, which labels of objects and images name`)
  return { root, version, ...(license && { license }) }
}
